"""Which instruction of a program makes what another one reads, found from the instructions alone.

One walk over the straight path of a token: stretches of the LMU remember who
wrote and who read them, streams who opened them, registers and cache regions
who wrote them. The clock waits for exactly these.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from compiler.emulator.accesses import spans
from compiler.isa.encode import Instruction
from compiler.isa.spec import Effect, Kind, Unit

_OPENERS = ("rd.param", "rd.kv")


@dataclass(frozen=True, slots=True)
class Sources:
    """What one instruction waits for; path indices, ascending.

    Attributes:
        results: the instructions whose results it reads.
        hazards: those on other units that must have ended before it may overwrite what they read or wrote.
        streams: those that opened the streams it reads.
    """

    results: tuple[int, ...]
    hazards: tuple[int, ...]
    streams: tuple[int, ...]


def trace_sources(path: Sequence[Instruction]) -> list[Sources]:
    """The sources of each instruction of a path; indices count within the path."""
    return _Walk(path).sources()


class _Walk:
    """Who touched what last, while the path is walked."""

    def __init__(self, path: Sequence[Instruction]) -> None:
        self.path = path
        self.spans = [spans(instr) for instr in path]
        self.edges = sorted({edge for each in self.spans for span in each for edge in (span.begin, span.end)})
        self.writer = [-1] * len(self.edges)
        self.readers: list[dict[Unit | int, int]] = [{} for _ in self.edges]
        self.streams: dict[int, int] = {}
        self.stream_reader: dict[int, int] = {}
        self.registers: dict[int, int] = {}
        self.caches: dict[int, int] = {}
        self.transmits: dict[int, int] = {}

    def sources(self) -> list[Sources]:
        found = []
        for index, instr in enumerate(self.path):
            results, opened = self._reads(index, instr)
            made = {who for who in opened if self.path[who].mnemonic not in _OPENERS}
            hazards = self._writes(index, instr)
            results = (results | made) - {-1, index}
            unit = instr.spec.unit
            others = {who for who in hazards - results - {-1, index} if self.path[who].spec.unit is not unit}
            streams = tuple(sorted(set(opened) - made))
            found.append(Sources(tuple(sorted(results)), tuple(sorted(others)), streams))
        return found

    def _reads(self, index: int, instr: Instruction) -> tuple[set[int], list[int]]:
        """The results that an instruction waits for, and who opened its streams."""
        waits: set[int] = set()
        opened: list[int] = []
        for operand, value in zip(instr.spec.operands, instr.values, strict=True):
            if operand.effect is not Effect.READ or operand.kind not in (Kind.STREAM, Kind.REGISTER):
                continue
            number = int(value)
            if operand.kind is Kind.REGISTER:
                waits.add(self.registers.get(number, -1))
            elif number in self.streams:
                opened.append(self.streams.pop(number))
                self.stream_reader[number] = index
        # The last reader on a unit is the last to end; what is posted to the SMA ends in any order.
        reader = index if instr.spec.unit is Unit.SMA else instr.spec.unit
        for span in self.spans[index]:
            if not span.written:
                for piece in self._pieces(span.begin, span.end):
                    waits.add(self.writer[piece])
                    self.readers[piece][reader] = index
        if instr.mnemonic == "rd.kv":
            waits.add(self.caches.get(instr.integer("hbm"), -1))
        if instr.mnemonic == "tx":
            self.transmits[instr.integer("tag")] = index
        elif instr.mnemonic == "rx":
            waits.add(self.transmits.pop(instr.integer("tag"), -1))
        return waits, opened

    def _writes(self, index: int, instr: Instruction) -> set[int]:
        """Mark what an instruction writes; who used that before it."""
        hazards: set[int] = set()
        for span in self.spans[index]:
            if span.written:
                for piece in self._pieces(span.begin, span.end):
                    hazards.update(who for who in self.readers[piece].values() if who != index)
                    hazards.add(self.writer[piece])
                    self.writer[piece] = index
                    self.readers[piece] = {}
        for operand, value in zip(instr.spec.operands, instr.values, strict=True):
            number = int(value) if operand.effect is Effect.WRITE else 0
            if operand.kind is Kind.STREAM and number:
                hazards.add(self.stream_reader.get(number, -1))
                self.streams[number] = index
            elif operand.kind is Kind.REGISTER and number:
                self.registers[number] = index
        if instr.mnemonic in ("wr.key", "wr.value"):
            for head in range(instr.integer("heads")):
                self.caches[instr.integer("hbm") + head * instr.integer("head_stride")] = index
        return hazards

    def _pieces(self, begin: int, end: int) -> range:
        """The stretches between two neighbouring edges that [begin, end) is made of."""
        return range(bisect_left(self.edges, begin), bisect_left(self.edges, end))
