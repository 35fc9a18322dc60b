"""Which instructions of a straight piece of program can run together, and where their values live meanwhile.

Instructions -> nodes with levels and renamed LMU addresses. Every write of the
LMU gets storage of its own, so that reuse of an address orders nothing; what
is left are true dependences. A node's level is one more than the highest of
those it waits for: nodes of a level are independent. What cannot be decided
without running raises `Unplannable`, and the piece runs instruction by
instruction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

from compiler.emulator.accesses import Span, memory, spans, streams
from compiler.emulator.versions import FOREVER, Intervals, Storage, Version
from compiler.isa.encode import Instruction
from compiler.isa.spec import Effect, Unit
from compiler.memory_map import CACHE_KINDS, MemoryMap


class Unplannable(Exception):
    """The piece must run instruction by instruction."""


@dataclass(slots=True, eq=False)
class Node:
    """Instructions that run one right after the other: streams with their consumer, transmit with receive.

    Attributes:
        pcs: in program order.
        after: nodes it waits for.
        level: 0 for none.
        operands: (pc, operand) -> its version and offset in it.
    """

    pcs: list[int]
    after: set[int] = field(default_factory=set)
    level: int = 0
    operands: dict[tuple[int, str], tuple[Version, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CacheAccess:
    """A cache read or write.

    Attributes:
        pc: of the instruction that opens or writes.
        region: name of the cache.
        written: write, else read.
    """

    pc: int
    region: str
    written: bool


class Schedule:
    """The nodes of program[begin:end].

    Attributes:
        nodes: in program order of their last instruction.
        entry: versions that are in the LMU before.
        shown: (version, first LMU element, count): what the LMU shows in the end, in program order.
        accesses: of caches, in program order.
    """

    def __init__(self, program: tuple[Instruction, ...], begin: int, end: int, memory_map: MemoryMap) -> None:
        self._program = program
        self._map = memory_map
        self.nodes: list[Node] = []
        self.entry: list[Version] = []
        self.accesses: list[CacheAccess] = []
        self._clusters: dict[Version, list[Version]] = {}
        self._latest = Intervals()
        self._region_users: dict[str, tuple[list[int], list[int]]] = {}
        self._write_pcs: dict[str, list[int]] = {}
        self._early: dict[int, Node] = {}  # pc -> what it read when it was its turn, before its node is complete
        for pcs, complete in self._compose(begin, end):
            if complete:
                self._add(pcs)
            else:
                self._early[pcs[-1]] = self._reads_of(pcs[-1])
        self.shown = self._latest.pieces()
        for version, _, _ in self.shown:
            version.root().last = FOREVER

    def _compose(self, begin: int, end: int) -> list[tuple[list[int], bool]]:
        """Join openings with consumers and transmits with receives.

        Returns:
            Joined instructions, at the place of the last one; and at its own place, marked incomplete, each that
            others of its node follow: what it reads may be overwritten before they run.
        """
        open_streams: dict[int, list[int]] = {}
        in_flight: dict[int, list[int]] = {}
        groups: list[tuple[list[int], bool]] = []
        for pc in range(begin, end):
            instr = self._program[pc]
            group: list[int] = []
            for slot in streams(instr, Effect.READ):
                if slot not in open_streams:
                    raise Unplannable
                group += open_streams.pop(slot)
            if instr.spec.unit is Unit.ESL:
                tag = instr.integer("tag")
                if instr.mnemonic == "tx" and tag not in in_flight:
                    in_flight[tag] = [pc]
                    groups.append(([pc], False))
                    continue
                if instr.mnemonic != "rx" or tag not in in_flight:
                    raise Unplannable
                group += in_flight.pop(tag)
            group.append(pc)
            opened = streams(instr, Effect.WRITE)
            if opened:
                if len(opened) > 1 or opened[0] in open_streams:
                    raise Unplannable
                open_streams[opened[0]] = group
                groups.append(([*group], False))
            else:
                groups.append((group, True))
        if open_streams or in_flight:
            raise Unplannable
        return groups

    def _add(self, pcs: list[int]) -> None:
        index = len(self.nodes)
        node = Node(pcs)
        writes: list[tuple[int, Span]] = []
        for pc in pcs:
            early = self._early.pop(pc, None) or self._reads_of(pc)
            node.operands |= early.operands
            node.after |= early.after
            writes += [(pc, span) for span in spans(self._program[pc]) if span.written]
            self._order_memory(pc, pcs[-1], node, index)
        if any(_overlap(one, other) for (_, one), (_, other) in combinations(writes, 2)):
            raise Unplannable  # which of the two values stays is for `semantics` to say
        for pc, span in writes:
            version = Version(span.begin, span.count, span.extent, index)
            self._clusters[version] = [version]
            node.operands[pc, span.operand] = (version, 0)
            self._latest.write(version)
        node.level = 1 + max((self.nodes[other].level for other in node.after), default=-1)
        for version, _ in node.operands.values():
            root = version.root()
            root.last = max(root.last, node.level)
        self.nodes.append(node)

    def _reads_of(self, pc: int) -> Node:
        """An instruction without a place of its own, for what it reads."""
        node = Node([pc])
        for span in spans(self._program[pc]):
            if not span.written:
                node.operands[pc, span.operand] = self._read(span, node)
        return node

    def _read(self, span: Span, node: Node) -> tuple[Version, int]:
        """The version that a read sees, and the offset in it; several become neighbours."""
        found: list[Version] = []
        for first, last, version in self._latest.overlapping(span.begin, span.begin + span.count):
            if version is None:
                version = Version(first, last - first, None, -1)
                self._clusters[version] = [version]
                self._latest.write(version)
                self.entry.append(version)
            found.append(version)
        for version in found:
            if version.extent and not (
                len(found) == 1 and version.begin == span.begin and version.extent.covers(span.extent)
            ):
                raise Unplannable
            if version.node >= 0:
                node.after.add(version.node)
            self._join(found[0], version)
        return found[0], span.begin - found[0].begin

    def _join(self, a: Version, b: Version) -> None:
        """Store two versions at the distance they have in the LMU."""
        first, second = a.root(), b.root()
        if first is second:
            return
        ours, theirs = self._clusters[first], self._clusters.pop(second)
        for one in ours:
            for other in theirs:
                if _overlap(one, other):
                    raise Unplannable
        second.parent = first
        first.last = max(first.last, second.last)
        ours += theirs

    def _order_memory(self, pc: int, last_pc: int, node: Node, index: int) -> None:
        """Accesses of one cache keep their order, as far as one of them writes."""
        for address, written in memory(self._program[pc]):
            region = self._map.region_at(address)
            if region is None:
                raise Unplannable
            if region.kind not in CACHE_KINDS:
                if written:
                    raise Unplannable
                continue
            readers, writers = self._region_users.setdefault(region.name, ([], []))
            if not written and any(pc < other < last_pc for other in self._write_pcs.get(region.name, ())):
                raise Unplannable  # written between the opening of the stream and its consumer
            node.after.update(other for other in (writers + readers if written else writers) if other != index)
            (writers if written else readers).append(index)
            if written:
                self._write_pcs.setdefault(region.name, []).append(pc)
            self.accesses.append(CacheAccess(pc, region.name, written))

    def place(self) -> int:
        """Give every version its address; returns how many elements they need."""
        storage = Storage()
        for version in self.entry:
            self._settle(version.root(), storage)
        for node in sorted(self.nodes, key=lambda node: node.level):
            storage.advance(node.level)
            for version, _ in node.operands.values():
                self._settle(version.root(), storage)
        return storage.top

    def _settle(self, root: Version, storage: Storage) -> None:
        members = self._clusters[root]
        if root.address >= 0:
            return
        begin = min(each.begin for each in members)
        base = storage.take(max(each.begin + each.count for each in members) - begin, root.last)
        for member in members:
            member.address = base + member.begin - begin


def _overlap(one: Span | Version, other: Span | Version) -> bool:
    return one.begin < other.begin + other.count and other.begin < one.begin + one.count
