"""What an instruction asks of the machine: work, results it waits for, streams it reads.

In: instructions of a straight piece, one by one; before allocation an LMU operand names a buffer, after it an
address. Out: a `Demand` each, whose numbers count the instructions shown so far.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from compiler.isa.encode import Instruction
from compiler.isa.spec import BY_MNEMONIC, Effect, Kind, Operand, Spec, Unit
from compiler.program.virtual import Slot, Virtual, VirtualInstruction
from compiler.target.timing import Rules, Work

OPENERS = ("rd.param", "rd.kv")
_LMU = -1
"""Stands for the LMU after allocation, where a buffer's index stood before."""


class Demand(NamedTuple):
    """One instruction; the others by number.

    Attributes:
        opens: it opens a stream that a later one reads.
        results: it reads what these make.
        hazards: of other units; they must have ended before it overwrites what they use.
        streams: it reads what these opened, the first opened first.
    """

    unit: Unit
    work: Work
    opens: bool
    results: tuple[int, ...]
    hazards: tuple[int, ...]
    streams: tuple[int, ...]


@dataclass(slots=True)
class _Piece:
    """A stretch of a resource: who wrote it last, and per unit who read it since."""

    writer: int = -1
    readers: dict[Unit, int] = field(default_factory=dict)


class _Stretches:
    """A resource cut where accesses begin and end."""

    def __init__(self) -> None:
        self.begins = [0]
        self.pieces = [_Piece()]

    def read(self, begin: int, end: int, who: int, unit: Unit) -> set[int]:
        """Mark a read; who wrote what is read."""
        found = set()
        for piece in self.pieces[self._cut(begin) : self._cut(end)]:
            found.add(piece.writer)
            piece.readers[unit] = who
        return found

    def write(self, begin: int, end: int, who: int) -> set[int]:
        """Mark a write; who wrote or read what is overwritten."""
        low, high = self._cut(begin), self._cut(end)
        found = {user for piece in self.pieces[low:high] for user in (piece.writer, *piece.readers.values())}
        self.begins[low:high] = [begin]
        self.pieces[low:high] = [_Piece(who)]
        return found

    def _cut(self, at: int) -> int:
        """Index of the piece that begins at an offset, cut there if need be."""
        place = bisect_left(self.begins, at)
        if place == len(self.begins) or self.begins[place] != at:
            before = self.pieces[place - 1]
            self.begins.insert(place, at)
            self.pieces.insert(place, _Piece(before.writer, dict(before.readers)))
        return place


class Scoreboard:
    """Who makes and who uses what, while instructions are shown in program order.

    Args:
        rules: give the work of each.
        tokens: length of the text.
    """

    def __init__(self, rules: Rules, tokens: int) -> None:
        self._rules, self._tokens = rules, tokens
        self._units: list[Unit] = []
        self._lmu: dict[int, _Stretches] = {}
        self._registers: dict[int, int] = {}
        self._caches: dict[int, int] = {}
        self._open: dict[int, tuple[int, bool]] = {}
        self._emptied: dict[int, int] = {}
        self._transfer = -1
        self._works: dict[tuple[object, ...], Work] = {}

    def show(self, instr: Instruction | VirtualInstruction) -> Demand:
        """The demand of the next instruction."""
        spec, given = operands_of(instr)
        who, opens = len(self._units), spec.mnemonic in OPENERS
        self._units.append(spec.unit)
        results, streams = self._reads(who, spec, given)
        users = self._writes(who, spec, given)
        results -= {-1, who}
        hazards = tuple(sorted(user for user in users - results - {-1, who} if self._units[user] is not spec.unit))
        return Demand(spec.unit, self.work(spec, given), opens, tuple(sorted(results)), hazards, tuple(sorted(streams)))

    def work(self, spec: Spec, given: Mapping[str, Virtual]) -> Work:
        """The cost of one instruction."""
        numbers = {name: int(value) for name, value in given.items() if isinstance(value, int | float)}
        key = (spec, *(numbers.get(operand.name, 0) for operand in spec.operands[1:]))
        if key not in self._works:
            self._works[key] = self._rules.work(spec, lambda name: numbers.get(name, 0), self._tokens)
        return self._works[key]

    def _reads(self, who: int, spec: Spec, given: Mapping[str, Virtual]) -> tuple[set[int], set[int]]:
        """Whose results and whose streams an instruction reads."""
        results: set[int] = set()
        streams: set[int] = set()
        for operand, name, begin, end in _lmu_ranges(spec, given):
            if operand.effect is Effect.READ:
                results |= self._lmu.setdefault(name, _Stretches()).read(begin, end, who, spec.unit)
        for operand, number in _numbers(spec, given, Effect.READ):
            if operand.kind is Kind.REGISTER:
                results.add(self._registers.get(number, -1))
            elif number in self._open:
                opener, fetched = self._open.pop(number)
                (streams if fetched else results).add(opener)
                self._emptied[number] = who
        if spec.mnemonic == "rd.kv":
            results.add(self._caches.get(integer(given, "hbm"), -1))
        if spec.unit is Unit.ESL:
            results.add(self._transfer)
            self._transfer = who
        return results, streams

    def _writes(self, who: int, spec: Spec, given: Mapping[str, Virtual]) -> set[int]:
        """Who used what an instruction writes."""
        users: set[int] = set()
        for operand, name, begin, end in _lmu_ranges(spec, given):
            if operand.effect is Effect.WRITE:
                users |= self._lmu.setdefault(name, _Stretches()).write(begin, end, who)
        for operand, number in _numbers(spec, given, Effect.WRITE):
            if operand.kind is Kind.REGISTER:
                self._registers[number] = who
            else:
                users.add(self._emptied.get(number, -1))
                self._open[number] = (who, spec.mnemonic in OPENERS)
        if spec.mnemonic in ("wr.key", "wr.value"):
            first, step = integer(given, "hbm"), integer(given, "head_stride")
            self._caches.update((first + head * step, who) for head in range(integer(given, "heads")))
        return users


def operands_of(instr: Instruction | VirtualInstruction) -> tuple[Spec, dict[str, Virtual]]:
    """An instruction's row of the table, and its operands by name."""
    if isinstance(instr, Instruction):
        names = (operand.name for operand in instr.spec.operands)
        return instr.spec, dict(zip(names, instr.values, strict=True))
    return BY_MNEMONIC[instr.mnemonic], dict(instr.operands)


def _lmu_ranges(spec: Spec, given: Mapping[str, Virtual]) -> Iterator[tuple[Operand, int, int, int]]:
    """The LMU operands an instruction uses: which buffer, and the elements [begin, end) of it."""
    streamed = {"mm": "out", "wr.key": "stream", "wr.value": "stream"}.get(spec.mnemonic)
    unused = {"out": "dst", "stream": "src"}.get(streamed or "") if streamed and given.get(streamed, 0) else None
    for operand in spec.operands:
        if operand.kind is not Kind.LMU or operand.name == unused:
            continue
        count = 1
        for name in operand.extent:
            count *= integer(given, name)
        value = given.get(operand.name, 0)
        if count and isinstance(value, Slot):
            yield operand, value.buffer.index, value.offset, value.offset + count
        elif count and isinstance(value, int):
            yield operand, _LMU, value, value + count


def _numbers(spec: Spec, given: Mapping[str, Virtual], effect: Effect) -> Iterator[tuple[Operand, int]]:
    """The registers and streams that an instruction reads, or writes; register and stream 0 are none."""
    for operand in spec.operands:
        if operand.effect is effect and operand.kind in (Kind.REGISTER, Kind.STREAM):
            number = integer(given, operand.name)
            if number:
                yield operand, number


def integer(given: Mapping[str, Virtual], name: str) -> int:
    """An operand as a number; 0 for one that is left out."""
    value = given.get(name, 0)
    return int(value) if isinstance(value, int | float) else 0
