"""The clock: when each instruction of a token starts and ends on its unit.

In: a program and the latency rules of its target. Out: whole cycles, busy time
and stalls with their reason, per token. Numbers are not computed here; a
token's time depends on its position alone.

The model, unit by unit:
    ICP   dispatches in program order, one instruction per `issue_cycles`; a branch waits for its registers.
    SMA   requests streams in program order at the rate of the HBM, as long as what was requested and not yet consumed
          fits the FIFO; what it was asked arrives `hbm_latency_cycles` later. Rows, cache writes and host words are
          posted: they take their bytes from the same rate.
    SXE   holds a matrix until its last tile: one tile per cycle, or as fast as the stream arrives.
    VXE   holds a vector for its passes.
    ESL   passes a slice on while it is being made, so that only its last packet and the hops follow its last element.
An instruction starts when its unit is free, everything it reads is ready and nobody still uses what it overwrites; a
result is ready `latency` after its unit is free again. `docs/timing.md` says more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compiler.emulator.path import UNITS, Path, Role, walk_token
from compiler.isa.encode import Instruction
from compiler.isa.spec import Unit
from compiler.target.timing import Rules, Work

REASONS = ("SMA", "SXE", "VXE", "ESL", "ICP", "issue", "hazard", "stream", "fifo", "end")
"""Why a unit stood still: the result of a unit; no instruction yet; somebody still uses what it overwrites; its stream
has not arrived; no room in the FIFO; nothing left to do in this token."""

_ISSUE, _HAZARD, _STREAM, _FIFO, _END = range(len(UNITS), len(REASONS))
_NONE = -1


@dataclass(frozen=True, slots=True)
class Slice:
    """One instruction in time: [start, end) on its unit, in cycles from the start of the token.

    Attributes:
        issue: when the ICP had dispatched it.
        waited: cycles that its unit stood still before or during it.
        reason: why, one of `REASONS`; "" when it never did.
    """

    pc: int
    start: int
    end: int
    issue: int = 0
    waited: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TokenTime:
    """The time of one token.

    Attributes:
        position: of the token that is fed.
        cycles: from its first instruction to its last.
        stream_bytes: moved from and to HBM by each device.
        busy: cycles per unit; with its stalls they make `cycles`.
        stalls: cycles per unit and reason.
        slices: per instruction, in program order, when asked for.
    """

    position: int
    cycles: float
    stream_bytes: int
    busy: dict[Unit, float]
    stalls: dict[tuple[Unit, str], float]
    slices: tuple[Slice, ...] = ()


class Clock:
    """Times the tokens of one program.

    Args:
        instructions: the program.
        rules: of its target, number of devices and dtype.
    """

    def __init__(self, instructions: Sequence[Instruction], rules: Rules) -> None:
        self.rules = rules
        self._prompt = walk_token(instructions, prompt=True)
        self._decode = walk_token(instructions, prompt=False)

    def token(self, position: int, *, prompt: bool = False, slices: bool = False) -> TokenTime:
        """The time of the token at a position; `prompt` when its logits are not needed."""
        path = self._prompt if prompt else self._decode
        return _Run(path, self.rules, position + 1).token(position, slices)

    def sources(self, token: TokenTime) -> Iterator[tuple[int, ...]]:
        """For each slice of a token, the slices whose results or streams it waits for."""
        path = self._decode if len(token.slices) == len(self._decode.pcs) else self._prompt
        return (tuple(sorted({*sources.results, *sources.streams})) for sources in path.sources)

    def seconds(self, cycles: float) -> float:
        """Cycles as seconds of the target's clock."""
        return cycles / self.rules.target.clock_hz


class _Run:
    """One walk along a path at one text length."""

    def __init__(self, path: Path, rules: Rules, length: int) -> None:
        self.path, self.rules = path, rules
        self.works = [_work(rules, instr, length) for instr in path.works]
        self.fetch = [rules.stream_cycles(work.stream_bytes) for work in self.works]
        count = len(path.steps)
        self.issue, self.start, self.end, self.ready = ([0] * count for _ in range(4))
        self.waited, self.reason = [0] * count, [_NONE] * count
        self.free = [0] * len(UNITS)
        self.busy = [0] * len(UNITS)
        self.stalls: dict[tuple[int, int], int] = {}
        self.fifo = _Fifo(rules.target.timing.fifo_bytes)
        self.stream_bytes = 0

    def token(self, position: int, keep: bool) -> TokenTime:
        self._walk()
        cycles = max(max(self.ready, default=0), max(self.end, default=0))
        for unit, free in enumerate(self.free):
            self._stall(unit, _END, cycles - free)
        return TokenTime(
            position,
            cycles,
            self.stream_bytes,
            dict(zip(UNITS, map(float, self.busy), strict=True)),
            {(UNITS[unit], REASONS[reason]): float(total) for (unit, reason), total in self.stalls.items()},
            tuple(map(self._slice, range(len(self.start)))) if keep else (),
        )

    def _slice(self, index: int) -> Slice:
        reason = REASONS[self.reason[index]] if self.waited[index] else ""
        return Slice(
            self.path.pcs[index], self.start[index], self.end[index], self.issue[index], self.waited[index], reason
        )

    def _walk(self) -> None:
        issue_cycles = self.rules.target.timing.issue_cycles
        control = UNITS.index(Unit.ICP)
        steps, issue, ready, end, free, busy = (
            self.path.steps, self.issue, self.ready, self.end, self.free, self.busy
        )  # fmt: skip
        issued = 0
        for index, (role, unit, kind, results, hazards, streams) in enumerate(steps):
            issued += issue_cycles
            issue[index] = gate = issued
            why = _ISSUE
            for source in results:
                if ready[source] > gate:
                    gate = ready[source]
                    why = steps[source][1]
            for source in hazards:
                if end[source] > gate:
                    gate = end[source]
                    why = _HAZARD
            if role == Role.EXECUTE:
                self._execute(index, unit, self.works[kind], gate, why, streams)
            elif role == Role.OPEN:
                self._open(index, kind, gate, why)
            elif role == Role.POST:
                self._post(index, kind, gate)
            elif role == Role.TRANSFER:
                self._transfer(index, unit, self.works[kind], issued, results, hazards)
            else:
                busy[control] += issue_cycles
                self._stall(control, why, gate - issued)
                issued = gate  # a branch decides what is fetched next
                self.start[index] = issued - issue_cycles
                free[control] = end[index] = ready[index] = issued
                continue
            busy[control] += issue_cycles
            free[control] = issued

    def _execute(self, index: int, unit: int, work: Work, gate: int, why: int, streams: tuple[int, ...]) -> None:
        """SXE and VXE, and the receiving end of the ESL."""
        free = self.free[unit]
        if streams:
            first = self.start[streams[0]] + self.rules.target.timing.hbm_latency_cycles
            if first > gate:
                gate, why = first, _STREAM
        start = end = free
        if gate > free:
            start = end = gate
            self._wait(index, unit, why, gate - free)
        end += work.cycles
        if streams:
            arrived = self._arrival(streams, start)
            if arrived > end:
                self._wait(index, unit, _STREAM, arrived - end)
                end = arrived
            self._consume(streams, start, end)
        self.start[index], self.end[index] = start, end
        self.free[unit] = end
        self.busy[unit] += work.cycles
        self.ready[index] = end + work.latency

    def _transfer(
        self, index: int, unit: int, work: Work, issued: int, results: tuple[int, ...], hazards: tuple[int, ...]
    ) -> None:
        """A slice leaves packet by packet as the SXE makes it."""
        begin, whole, why, last = issued, 0, _ISSUE, _ISSUE
        for source in results:
            ready = available = self.ready[source]
            producer = self.path.steps[source][1]
            if UNITS[producer] is Unit.SXE:
                made = self.end[source] - self.start[source]
                available -= made * (work.cycles - work.tail_cycles) // max(1, work.cycles)
            if ready > whole:
                whole, last = ready, producer
            if available > begin:
                begin, why = available, producer
        for source in hazards:
            if self.end[source] > begin:
                begin, why = self.end[source], _HAZARD
        start = max(begin, self.free[unit])
        self._wait(index, unit, why, start - self.free[unit])
        end = max(start + work.cycles, whole + work.tail_cycles)
        self._wait(index, unit, last, end - start - work.cycles)
        self.start[index], self.end[index] = start, end
        self.free[unit] = end
        self.busy[unit] += work.cycles
        self.ready[index] = end + work.latency

    def _open(self, index: int, kind: int, gate: int, why: int) -> None:
        """The SMA begins to fetch; when it is done with the last byte may depend on the reader."""
        sma, count, cycles = UNITS.index(Unit.SMA), self.works[kind].stream_bytes, self.fetch[kind]
        room = self.fifo.open(index, count)
        if room > gate:
            gate, why = room, _FIFO
        free = self.free[sma]
        start = max(free, gate)
        self._wait(index, sma, why, start - free)
        self.start[index] = start
        self.free[sma] = self.end[index] = self.ready[index] = start + cycles
        self.busy[sma] += cycles
        self.stream_bytes += count

    def _post(self, index: int, kind: int, start: int) -> None:
        sma, work, cycles = UNITS.index(Unit.SMA), self.works[kind], self.fetch[kind]
        self.free[sma] += cycles
        self.busy[sma] += cycles
        self.stream_bytes += work.stream_bytes
        self.start[index] = start
        self.end[index] = start + cycles
        self.ready[index] = start + cycles + work.latency

    def _arrival(self, streams: tuple[int, ...], start: int) -> int:
        """When the last byte of an instruction's streams is there, which begins to read them at `start`."""
        asked = max(self.end[stream] for stream in streams) + self.rules.target.timing.hbm_latency_cycles
        beyond = sum(map(self.fifo.bytes_of, streams)) - self.fifo.capacity
        return max(asked, start + self.rules.stream_cycles(beyond)) if beyond > 0 else asked

    def _consume(self, streams: tuple[int, ...], start: int, end: int) -> None:
        """Streams were read evenly in [start, end): the SMA was held up where the FIFO was full."""
        count = sum(map(self.fifo.bytes_of, streams))
        for stream in streams:
            self.fifo.consume(stream, start, end)
        beyond = count - self.fifo.capacity
        if beyond > 0:
            sma = UNITS.index(Unit.SMA)
            room = start + -(-(end - start) * beyond // count)
            if room > self.free[sma]:
                self._wait(streams[-1], sma, _FIFO, room - self.free[sma])
                self.free[sma] = room

    def _wait(self, index: int, unit: int, why: int, cycles: int) -> None:
        if cycles > 0:
            if cycles > self.waited[index] // 2:
                self.reason[index] = why
            self.waited[index] += cycles
            self._stall(unit, why, cycles)

    def _stall(self, unit: int, why: int, cycles: int) -> None:
        if cycles > 0:
            self.stalls[unit, why] = self.stalls.get((unit, why), 0) + cycles


class _Fifo:
    """The buffer between HBM and engines: when there is room for the next byte."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._order: dict[int, int] = {}
        self._begins: list[int] = []
        self._counts: list[int] = []
        self._reads: list[tuple[int, int] | None] = []
        self._total = 0
        self._oldest = 0
        self._passed = 0

    def open(self, stream: int, count: int) -> int:
        """Append a stream; when its first byte has room, as far as the readers so far tell."""
        first = self._total - self.capacity
        self._order[stream] = len(self._begins)
        self._begins.append(self._total)
        self._counts.append(count)
        self._reads.append(None)
        self._total += count
        return self._consumed(first) if first > 0 else 0

    def bytes_of(self, stream: int) -> int:
        """Bytes of a stream."""
        return self._counts[self._order[stream]]

    def consume(self, stream: int, start: int, end: int) -> None:
        """A stream is read evenly in [start, end)."""
        order = self._order[stream]
        self._reads[order] = (start, end)
        if order < self._oldest:
            self._passed = max(self._passed, end)

    def _consumed(self, byte: int) -> int:
        """When the byte at an offset of all streams, and all before it, had been read."""
        while self._oldest < len(self._begins) and self._begins[self._oldest] + self._counts[self._oldest] <= byte:
            read = self._reads[self._oldest]
            if read is not None:
                self._passed = max(self._passed, read[1])
            self._oldest += 1
        read = self._reads[self._oldest] if self._oldest < len(self._reads) else None
        if read is None:
            return self._passed
        start, end = read
        count = self._counts[self._oldest]
        return max(self._passed, start + -(-(end - start) * (byte - self._begins[self._oldest]) // count))


def _work(rules: Rules, instr: Instruction, length: int) -> Work:
    names = {operand.name: int(value) for operand, value in zip(instr.spec.operands, instr.values, strict=True)}
    return rules.work(instr.spec, lambda name: names.get(name, 0), length)
