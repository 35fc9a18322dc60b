"""What an instruction asks of the machine: kind of work, results it waits for, streams it reads.

In: instructions of a straight piece, one by one; before allocation an LMU operand names a buffer, after it an
address. Out: a `Demand` each. No rule of a target goes into it, and every order that keeps the dependences leads
to the same demands: what an order or a target costs is asked of `program.predict`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from typing import NamedTuple

from compiler.isa.encode import Instruction
from compiler.isa.instructions import BY_MNEMONIC
from compiler.isa.spec import Effect, Kind, Spec, Unit
from compiler.program.virtual import Slot, Virtual, VirtualInstruction
from compiler.target.timing import BY_LENGTH, DECIDING, Rules, Work

OPENERS = ("rd.param", "rd.kv")
UNITS = tuple(Unit)
"""The units, whose places stand for them where time counts."""

_LMU = -1
"""Stands for the LMU after allocation, where a buffer's index stood before."""


class Role(IntEnum):
    """How an instruction takes part in time."""

    CONTROL = 0
    OPEN = 1
    POST = 2
    EXECUTE = 3


class Demand(NamedTuple):
    """One instruction; the others by number.

    Attributes:
        unit: its place in `UNITS`.
        role: one of `Role`, as a number.
        kind: of work, see `Kinds`.
        results: it reads what these make.
        hazards: of other units; they must have ended before it overwrites what they use.
        streams: it reads what these opened, the first opened first.
    """

    unit: int
    role: int
    kind: int
    results: tuple[int, ...]
    hazards: tuple[int, ...]
    streams: tuple[int, ...]


class Kinds:
    """Kinds of work: all instructions of one cost the same at the same length of the text."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[object, ...], int] = {}
        self._examples: list[tuple[Spec, dict[str, int]]] = []

    def number(self, spec: Spec, given: Mapping[str, Virtual]) -> int:
        """The kind of an instruction."""
        shape = shape_of(spec)
        key = (spec.opcode, *map(given.get, shape.deciding), *[bool(given.get(name)) for name in shape.switches])
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._examples)
            self._examples.append((spec, {name: integer(given, name) for name in DECIDING if name in given}))
        return found

    def works(self, rules: Rules, tokens: int, before: Sequence[Work] = ()) -> list[Work]:
        """What each kind costs when so many tokens are in the caches; a stream holds the SMA for its bytes.

        Args:
            before: what they cost by the same rules at another length; only what grows is asked for again.
        """
        works = list(before)
        for kind, (_, given) in enumerate(self._examples):
            if kind >= len(before):
                works.append(self._work(kind, rules, tokens))
            elif any(map(given.get, BY_LENGTH)):
                works[kind] = self._work(kind, rules, tokens)
        return works

    def _work(self, kind: int, rules: Rules, tokens: int) -> Work:
        spec, given = self._examples[kind]
        work = rules.work(spec, lambda name: given.get(name, 0), tokens)
        return work._replace(cycles=rules.stream_cycles(work.stream_bytes)) if spec.unit is Unit.SMA else work


@dataclass(slots=True)
class _Piece:
    """A stretch of a resource: who wrote it last, and who read it since."""

    writer: int = -1
    readers: set[int] = field(default_factory=set)


class _Stretches:
    """A resource cut where accesses begin and end."""

    def __init__(self) -> None:
        self.begins = [0]
        self.pieces = [_Piece()]

    def read(self, begin: int, end: int, who: int, writers: set[int]) -> None:
        """Mark a read; adds who wrote what is read."""
        for piece in self.pieces[self._cut(begin) : self._cut(end)]:
            writers.add(piece.writer)
            piece.readers.add(who)

    def write(self, begin: int, end: int, who: int, users: set[int]) -> None:
        """Mark a write; adds who wrote or read what is overwritten."""
        low, high = self._cut(begin), self._cut(end)
        for piece in self.pieces[low:high]:
            users.add(piece.writer)
            users |= piece.readers
        self.begins[low:high] = [begin]
        self.pieces[low:high] = [_Piece(who)]

    def _cut(self, at: int) -> int:
        """Index of the piece that begins at an offset, cut there if need be."""
        place = bisect_left(self.begins, at)
        if place == len(self.begins) or self.begins[place] != at:
            before = self.pieces[place - 1]
            self.begins.insert(place, at)
            self.pieces.insert(place, _Piece(before.writer, set(before.readers)))
        return place


class Scoreboard:
    """Who makes and who uses what, while instructions are shown in program order.

    Args:
        kinds: give the number of the work of each.
    """

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._units: dict[int, Unit] = {}
        self._lmu: dict[int, _Stretches] = {}
        self._registers: dict[Virtual, int] = {}
        self._caches: dict[int, int] = {}
        self._open: dict[Virtual, tuple[int, bool]] = {}
        self._emptied: dict[Virtual, int] = {}
        self._sent: dict[int, int] = {}

    def show(self, who: int, instr: Instruction | VirtualInstruction) -> Demand:
        """The demand of the next instruction, whose number is `who`, above all shown before."""
        spec, given = operands_of(instr)
        shape, unit, units = shape_of(spec), spec.unit, self._units
        units[who] = unit
        results: set[int] = set()
        streams: list[int] = []
        users: set[int] = set()
        spans = _spans(shape, given)
        for name, begin, end, writes in spans:
            if not writes:
                self._resource(name).read(begin, end, who, results)
        self._reads(who, shape, given, results, streams)
        for name, begin, end, writes in spans:
            if writes:
                self._resource(name).write(begin, end, who, users)
        self._writes(who, shape, given, users)
        results -= {-1, who}
        users -= results
        users -= {-1, who}
        return Demand(
            shape.place,
            shape.role,
            self._kinds.number(spec, given),
            tuple(sorted(results)),
            tuple(sorted([user for user in users if units[user] is not unit])),
            tuple(sorted(streams)),
        )

    def _resource(self, name: int) -> _Stretches:
        found = self._lmu.get(name)
        if found is None:
            found = self._lmu[name] = _Stretches()
        return found

    def _reads(
        self, who: int, shape: Shape, given: Mapping[str, Virtual], results: set[int], streams: list[int]
    ) -> None:
        """Whose results and whose streams an instruction reads, the LMU apart."""
        for name in shape.registers_read:
            if number := given.get(name, 0):
                results.add(self._registers.get(number, -1))
        for name in shape.streams_read:
            number = given.get(name, 0)
            if number in self._open:
                opener, fetched = self._open.pop(number)
                if fetched:
                    streams.append(opener)
                else:
                    results.add(opener)
                self._emptied[number] = who
        if shape.mnemonic == "rd.kv":
            results.add(self._caches.get(integer(given, "hbm"), -1))
        elif shape.mnemonic == "tx":
            self._sent[integer(given, "tag")] = who
        elif shape.mnemonic == "rx":
            results.add(self._sent.pop(integer(given, "tag"), -1))

    def _writes(self, who: int, shape: Shape, given: Mapping[str, Virtual], users: set[int]) -> None:
        """Who used what an instruction writes, the LMU apart."""
        for name in shape.registers_written:
            if number := given.get(name, 0):
                self._registers[number] = who
        for name in shape.streams_written:
            if number := given.get(name, 0):
                users.add(self._emptied.get(number, -1))
                self._open[number] = (who, shape.opens)
        if shape.mnemonic in ("wr.key", "wr.value"):
            first, step = integer(given, "hbm"), integer(given, "head_stride")
            self._caches.update((first + head * step, who) for head in range(integer(given, "heads")))


@dataclass(frozen=True, slots=True)
class Shape:
    """What a row of the instruction table says of its operands, sorted by what a scoreboard asks.

    Attributes:
        lmu: name, operands whose product is the extent, whether it is written, and the operand that replaces it.
        deciding: operands that decide the cost by their value.
        switches: those that decide it by being there.
        place: of its unit in `UNITS`.
    """

    mnemonic: str
    unit: Unit
    place: int
    role: int
    opens: bool
    lmu: tuple[tuple[str, tuple[str, ...], bool, str], ...]
    registers_read: tuple[str, ...]
    registers_written: tuple[str, ...]
    streams_read: tuple[str, ...]
    streams_written: tuple[str, ...]
    deciding: tuple[str, ...]
    switches: tuple[str, ...]

    @property
    def streams(self) -> tuple[str, ...]:
        """All operands that name a stream."""
        return self.streams_read + self.streams_written


@cache
def shape_of(spec: Spec) -> Shape:
    replaced = {"mm": ("dst", "out"), "wr.key": ("src", "stream"), "wr.value": ("src", "stream")}
    unused, by = replaced.get(spec.mnemonic, ("", ""))
    deciding = [operand for operand in spec.operands if operand.name in DECIDING]

    def names(kind: Kind, effect: Effect) -> tuple[str, ...]:
        return tuple(operand.name for operand in spec.operands if operand.kind is kind and operand.effect is effect)

    return Shape(
        mnemonic=spec.mnemonic,
        unit=spec.unit,
        place=UNITS.index(spec.unit),
        role=int(_role(spec)),
        opens=spec.mnemonic in OPENERS,
        lmu=tuple(
            (operand.name, operand.extent, operand.effect is Effect.WRITE, by if operand.name == unused else "")
            for operand in spec.operands
            if operand.kind is Kind.LMU
        ),
        registers_read=names(Kind.REGISTER, Effect.READ),
        registers_written=names(Kind.REGISTER, Effect.WRITE),
        streams_read=names(Kind.STREAM, Effect.READ),
        streams_written=names(Kind.STREAM, Effect.WRITE),
        deciding=tuple(operand.name for operand in deciding if operand.kind is Kind.COUNT),
        switches=tuple(operand.name for operand in deciding if operand.kind is not Kind.COUNT),
    )


def _role(spec: Spec) -> Role:
    if spec.mnemonic in OPENERS:
        return Role.OPEN
    return {Unit.ICP: Role.CONTROL, Unit.SMA: Role.POST}.get(spec.unit, Role.EXECUTE)


def _spans(shape: Shape, given: Mapping[str, Virtual]) -> list[tuple[int, int, int, bool]]:
    """The LMU ranges an instruction uses: which buffer, its elements [begin, end), and whether it writes them."""
    found = []
    for name, extent, writes, by in shape.lmu:
        if by and given.get(by, 0):
            continue
        count = 1
        for factor in extent:
            count *= integer(given, factor)
        if not count:
            continue
        value = given.get(name, 0)
        if isinstance(value, Slot):
            found.append((value.buffer.index, value.offset, value.offset + count, writes))
        elif isinstance(value, int):
            found.append((_LMU, value, value + count, writes))
    return found


def operands_of(instr: Instruction | VirtualInstruction) -> tuple[Spec, dict[str, Virtual]]:
    """An instruction's row of the table, and its operands by name."""
    if isinstance(instr, Instruction):
        names = (operand.name for operand in instr.spec.operands)
        return instr.spec, dict(zip(names, instr.values, strict=True))
    return BY_MNEMONIC[instr.mnemonic], dict(instr.operands)


def integer(given: Mapping[str, Virtual], name: str) -> int:
    """An operand as a number; 0 for one that is left out."""
    value = given.get(name, 0)
    return int(value) if isinstance(value, int | float) else 0
