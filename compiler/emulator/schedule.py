"""Which instructions of a straight piece of program can run together, and where their values live meanwhile.

Instructions -> nodes with levels and renamed LMU addresses. Every write of the
LMU gets storage of its own, so that reuse of an address orders nothing; what
is left are true dependences. A node's level is one more than the highest of
those it waits for: nodes of a level are independent. What cannot be decided
without running raises `Unplannable`, and the piece runs instruction by
instruction.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from compiler.emulator.accesses import Span, memory, spans, streams
from compiler.isa.encode import Instruction
from compiler.isa.spec import Effect, Unit
from compiler.memory_map import CACHE_KINDS, MemoryMap

ALIGN = 16


class Unplannable(Exception):
    """The piece must run instruction by instruction."""


@dataclass(slots=True, eq=False)
class Version:
    """One value in the LMU: what one operand of one node wrote, or what was there before (node -1).

    Attributes:
        begin, count, register: as in `Span`.
        node: its writer.
        parent: another version with which it must keep its distance, see `Schedule`.
        address: where it lives while the plan runs.
        last: highest level that reads it; a large number when the LMU shows it in the end.
    """

    begin: int
    count: int
    register: int
    node: int
    parent: Version | None = None
    address: int = -1
    last: int = -1

    def root(self) -> Version:
        """The version that stands for all that are stored with this one."""
        found = self
        while found.parent is not None:
            found = found.parent
        return found


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


FOREVER = 1 << 60


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
        self._latest = _Intervals()
        self._region_users: dict[str, tuple[list[int], list[int]]] = {}
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
        for pc, span in writes:
            version = Version(span.begin, span.count, span.register, index)
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
                version = Version(first, last - first, 0, -1)
                self._clusters[version] = [version]
                self._latest.write(version)
                self.entry.append(version)
            found.append(version)
        for version in found:
            same = (version.begin, version.register) == (span.begin, span.register) and version.count >= span.count
            if version.register and not (same and len(found) == 1):
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
                if one.begin < other.begin + other.count and other.begin < one.begin + one.count:
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
            if not written and any(
                access.region == region.name and access.written and access.pc > pc
                for access in self.accesses
                if access.pc < last_pc
            ):
                raise Unplannable  # written between the opening of the stream and its consumer
            node.after.update(other for other in (writers + readers if written else writers) if other != index)
            (writers if written else readers).append(index)
            self.accesses.append(CacheAccess(pc, region.name, written))

    def place(self, groups: list[list[Node]]) -> int:
        """Give every version its address; returns how many elements they need.

        Args:
            groups: nodes in the order of execution; results of a group that are of one size become neighbours.
        """
        storage = _Storage()
        for version in self.entry:
            self._settle(version.root(), storage)
        for group in groups:
            storage.advance(group[0].level)
            roots = [version.root() for node in group for version, _ in node.operands.values()]
            fresh = list(dict.fromkeys(root for root in roots if root.address < 0))
            sizes = {root.count for root in fresh}
            if len(fresh) > 1 and len(sizes) == 1 and all(len(self._clusters[root]) == 1 for root in fresh):
                step = -(-sizes.pop() // ALIGN) * ALIGN
                base = storage.take(step * len(fresh), max(root.last for root in fresh))
                for index, root in enumerate(fresh):
                    root.address = base + index * step
            else:
                for root in fresh:
                    self._settle(root, storage)
        return storage.top

    def _settle(self, root: Version, storage: _Storage) -> None:
        members = self._clusters[root]
        if root.address >= 0:
            return
        begin = min(each.begin for each in members)
        base = storage.take(max(each.begin + each.count for each in members) - begin, root.last)
        for member in members:
            member.address = base + member.begin - begin


class _Storage:
    """Addresses for values of known lifetime; a place is used again for a value of the same size."""

    def __init__(self) -> None:
        self.top = 0
        self._level = 0
        self._free: dict[int, list[int]] = {}
        self._dying: dict[int, list[tuple[int, int]]] = {}

    def advance(self, level: int) -> None:
        """Values last read below `level` are gone."""
        for past in range(self._level, level):
            for address, size in self._dying.pop(past, ()):
                self._free.setdefault(size, []).append(address)
        self._level = level

    def take(self, count: int, last: int) -> int:
        """The address of `count` elements that level `last` reads last."""
        size = -(-count // ALIGN) * ALIGN
        free = self._free.get(size)
        if free:
            address = free.pop()
        else:
            address, self.top = self.top, self.top + size
        self._dying.setdefault(last, []).append((address, size))
        return address


class _Intervals:
    """Which version each LMU element shows."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._pieces: list[tuple[int, int, Version]] = []  # begin, end, version; disjoint, ascending
        self._hidden: list[tuple[Version, int, int]] = []  # below versions of a length known only at run time

    def overlapping(self, begin: int, end: int) -> list[tuple[int, int, Version | None]]:
        """Pieces of [begin, end) with their versions, None where nothing was written yet."""
        found: list[tuple[int, int, Version | None]] = []
        at = begin
        for first, last, version in self._touching(begin, end):
            if at < first:
                found.append((at, first, None))
            found.append((max(first, begin), min(last, end), version))
            at = last
        if at < end:
            found.append((at, end, None))
        return found

    def _touching(self, begin: int, end: int) -> list[tuple[int, int, Version]]:
        index = max(0, bisect_right(self._begins, begin) - 1)
        found = []
        while index < len(self._pieces) and self._pieces[index][0] < end:
            if self._pieces[index][1] > begin:
                found.append(self._pieces[index])
            index += 1
        return found

    def write(self, version: Version) -> None:
        """From now on its elements show `version`."""
        begin, end = version.begin, version.begin + version.count
        touched = self._touching(begin, end)
        kept: list[tuple[int, int, Version]] = []
        same = (begin, version.count, version.register)
        if not version.register:
            self._hidden = [each for each in self._hidden if each[1] < begin or each[1] + each[2] > end]
        for first, last, old in touched:
            if version.register and (old.begin, old.count, old.register) != same:
                self._hidden.append((old, max(first, begin), min(last, end) - max(first, begin)))
            if first < begin:
                kept.append((first, begin, old))
            if last > end:
                kept.append((end, last, old))
        kept.append((begin, end, version))
        kept.sort(key=lambda piece: piece[0])
        low = bisect_right(self._begins, touched[0][0]) - 1 if touched else bisect_right(self._begins, begin)
        self._pieces[low : low + len(touched)] = kept
        self._begins[low : low + len(touched)] = [piece[0] for piece in kept]

    def pieces(self) -> list[tuple[Version, int, int]]:
        """(version, first element, count) of everything written, in an order in which it can be copied out."""
        return self._hidden + [(version, begin, end - begin) for begin, end, version in self._pieces]
