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
    ESL   sends a slice in packets round the wiring, once the slice is written; the program cuts slices into chunks.
An instruction starts when its unit is free, everything it reads is ready and nobody still uses what it overwrites; a
result is written `latency` after its unit is free again, and ready `retire` later. `docs/timing.md` says more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compiler.emulator.path import UNITS, Path, Role, walk_token
from compiler.isa.encode import Instruction
from compiler.isa.spec import Unit
from compiler.target.timing import BY_LENGTH, FORWARDED_TO, Rules, Work

REASONS = ("SMA", "SXE", "VXE", "ESL", "ICP", "issue", "hazard", "stream", "fifo", "end")
"""Why a unit stood still: the result of a unit; no instruction yet; somebody still uses what it overwrites; its stream
has not arrived; no room in the FIFO; nothing left to do in this token."""

_ISSUE, _HAZARD, _STREAM, _FIFO, _END = range(len(UNITS), len(REASONS))
_SMA, _ICP, _LINK = UNITS.index(Unit.SMA), UNITS.index(Unit.ICP), UNITS.index(FORWARDED_TO)
_OPEN, _POST, _EXECUTE = map(int, (Role.OPEN, Role.POST, Role.EXECUTE))


@dataclass(frozen=True, slots=True)
class Slice:
    """One instruction in time: [start, end) on its unit, in cycles from the start of the token.

    Attributes:
        issue: when the ICP had dispatched it.
        waited: cycles that its unit stood still before or during it.
        reason: why, one of `REASONS`; "" when it never did.
        stream_bytes: it moves from or to HBM.
    """

    pc: int
    start: int
    end: int
    issue: int = 0
    waited: int = 0
    reason: str = ""
    stream_bytes: int = 0


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
        self._prompt = _Costs(walk_token(instructions, prompt=True), rules)
        self._decode = _Costs(walk_token(instructions, prompt=False), rules)

    def token(self, position: int, *, prompt: bool = False, slices: bool = False) -> TokenTime:
        """The time of the token at a position; `prompt` when its logits are not needed."""
        costs = self._prompt if prompt else self._decode
        return _Run(costs.path, self.rules, costs.at(position + 1)).token(position, slices)

    def sources(self, token: TokenTime) -> Iterator[tuple[int, ...]]:
        """For each slice of a token, the slices whose results or streams it waits for."""
        path = self._decode.path if len(token.slices) == len(self._decode.path.pcs) else self._prompt.path
        return (tuple(sorted({*sources.results, *sources.streams})) for sources in path.sources)

    def seconds(self, cycles: float) -> float:
        """Cycles as seconds of the target's clock."""
        return cycles / self.rules.target.clock_hz


class _Costs:
    """The work of each kind of instruction of a path; only some depends on the length of the text."""

    def __init__(self, path: Path, rules: Rules) -> None:
        self.path, self._rules = path, rules
        self._operands = [
            {operand.name: int(value) for operand, value in zip(instr.spec.operands, instr.values, strict=True)}
            for instr in path.works
        ]
        self._works = [self._work(kind, 1) for kind in range(len(path.works))]
        self._growing = [kind for kind, given in enumerate(self._operands) if any(map(given.get, BY_LENGTH))]

    def at(self, length: int) -> list[Work]:
        """The work of each kind at a length."""
        works = list(self._works)
        for kind in self._growing:
            works[kind] = self._work(kind, length)
        return works

    def _work(self, kind: int, length: int) -> Work:
        given = self._operands[kind]
        return self._rules.work(self.path.works[kind].spec, lambda name: given.get(name, 0), length)


class _Run:
    """One walk along a path at one text length. Lists go by place in the path unless they say otherwise."""

    def __init__(self, path: Path, rules: Rules, works: list[Work]) -> None:
        self.path, self.rules, self.works = path, rules, works
        self.fetch = [rules.stream_cycles(work.stream_bytes) for work in works]
        self.latency = rules.target.timing.hbm_latency_cycles
        count = len(path.steps)
        self.issue, self.start, self.end, self.written, self.ready = ([0] * count for _ in range(5))
        self.waited, self.reason = [0] * count, [_ISSUE] * count
        self.free = [0] * len(UNITS)
        self.stalls = [0] * (len(UNITS) * len(REASONS))
        self.capacity = rules.target.timing.fifo_bytes
        self.offset, self.read_start, self.read_end = ([0] * count for _ in range(3))
        self.opened: list[int] = []
        self.oldest = self.passed = 0

    def token(self, position: int, keep: bool) -> TokenTime:
        self._walk()
        cycles = max(max(self.ready, default=0), max(self.end, default=0))
        for unit, free in enumerate(self.free):
            self.stalls[unit * len(REASONS) + _END] += cycles - free
        busy = [0] * len(UNITS)
        stream_bytes = 0
        for kind, count in enumerate(self.path.counts):
            instr, work = self.path.works[kind], self.works[kind]
            cost = self.fetch[kind] if instr.spec.unit is Unit.SMA else work.cycles
            busy[UNITS.index(instr.spec.unit)] += count * cost
            stream_bytes += count * work.stream_bytes
        busy[_ICP] = len(self.path.steps) * self.rules.target.timing.issue_cycles
        return TokenTime(
            position,
            cycles,
            stream_bytes,
            dict(zip(UNITS, map(float, busy), strict=True)),
            {
                (UNITS[place // len(REASONS)], REASONS[place % len(REASONS)]): float(total)
                for place, total in enumerate(self.stalls)
                if total
            },
            tuple(map(self._slice, range(len(self.start)))) if keep else (),
        )

    def _slice(self, index: int) -> Slice:
        reason = REASONS[self.reason[index]] if self.waited[index] else ""
        return Slice(
            self.path.pcs[index],
            self.start[index],
            self.end[index],
            self.issue[index],
            self.waited[index],
            reason,
            self.works[self.path.steps[index][2]].stream_bytes,
        )

    def _walk(self) -> None:
        steps, works, free, issue = self.path.steps, self.works, self.free, self.issue
        start, end, written, ready = self.start, self.end, self.written, self.ready
        issue_cycles, latency, wait = self.rules.target.timing.issue_cycles, self.latency, self._wait
        issued = 0
        for index, (role, unit, kind, results, hazards, streams) in enumerate(steps):
            issued += issue_cycles
            issue[index] = gate = issued
            why = _ISSUE
            known = written if unit == _LINK else ready
            for source in results:
                if known[source] > gate:
                    gate = known[source]
                    why = steps[source][1]
            for source in hazards:
                if end[source] > gate:
                    gate = end[source]
                    why = _HAZARD
            if role == _EXECUTE:
                if streams and start[streams[0]] + latency > gate:
                    gate = start[streams[0]] + latency
                    why = _STREAM
                begin = free[unit]
                if gate > begin:
                    wait(index, unit, why, gate - begin)
                    begin = gate
                work = works[kind]
                finish = begin + work.cycles
                if streams:
                    finish = self._read(index, unit, streams, begin, finish)
                start[index] = begin
                free[unit] = end[index] = finish
                written[index] = finish + work.latency
                ready[index] = written[index] + work.retire
            elif role == _OPEN:
                self._open(index, kind, gate, why)
            elif role == _POST:
                free[_SMA] += self.fetch[kind]
                start[index] = gate
                end[index] = gate + self.fetch[kind]
                written[index] = end[index] + works[kind].latency
                ready[index] = written[index] + works[kind].retire
            else:
                wait(index, _ICP, why, gate - issued)
                issued = gate  # a branch decides what is fetched next
                start[index] = issued - issue_cycles
                end[index] = written[index] = ready[index] = issued
        free[_ICP] = issued

    def _open(self, index: int, kind: int, gate: int, why: int) -> None:
        """The SMA begins to fetch; when it is done with the last byte may depend on the reader."""
        opened = self.opened
        if opened:
            last = opened[-1]
            self.offset[index] = self.offset[last] + self.works[self.path.steps[last][2]].stream_bytes
        opened.append(index)
        room = self._room(self.offset[index] - self.capacity)
        if room > gate:
            gate, why = room, _FIFO
        begin = self.free[_SMA]
        if gate > begin:
            self._wait(index, _SMA, why, gate - begin)
            begin = gate
        self.start[index] = begin
        self.free[_SMA] = self.end[index] = begin + self.fetch[kind]
        self.written[index] = self.ready[index] = self.end[index]

    def _room(self, byte: int) -> int:
        """When all bytes up to an offset had been read, as far as their readers are known."""
        if byte <= 0:
            return 0
        opened, offset, ends = self.opened, self.offset, self.read_end
        while offset[opened[self.oldest + 1]] <= byte:
            self.passed = max(self.passed, ends[opened[self.oldest]])
            self.oldest += 1
        stream = opened[self.oldest]
        if not ends[stream]:
            return self.passed
        begin, finish = self.read_start[stream], ends[stream]
        count = offset[opened[self.oldest + 1]] - offset[stream]
        return max(self.passed, begin + -(-(finish - begin) * (byte - offset[stream]) // count))

    def _read(self, index: int, unit: int, streams: tuple[int, ...], begin: int, finish: int) -> int:
        """An engine reads streams from `begin`, evenly, until it is done and the last byte has come; returns when."""
        count = asked = 0
        for stream in streams:
            count += self.works[self.path.steps[stream][2]].stream_bytes
            if self.end[stream] > asked:
                asked = self.end[stream]
        arrived, beyond = asked + self.latency, count - self.capacity
        if beyond > 0:
            arrived = max(arrived, begin + self.rules.stream_cycles(beyond))
        if arrived > finish:
            self._wait(index, unit, _STREAM, arrived - finish)
            finish = arrived
        oldest = self.opened[self.oldest]
        for stream in streams:
            self.read_start[stream], self.read_end[stream] = begin, finish
            if stream < oldest and finish > self.passed:
                self.passed = finish
        if beyond > 0:
            room = begin + -(-(finish - begin) * beyond // count)
            if room > self.free[_SMA]:  # the FIFO was full
                self._wait(streams[-1], _SMA, _FIFO, room - self.free[_SMA])
                self.free[_SMA] = room
        return finish

    def _wait(self, index: int, unit: int, why: int, cycles: int) -> None:
        if cycles > 0:
            if cycles > self.waited[index] // 2:
                self.reason[index] = why
            self.waited[index] += cycles
            self.stalls[unit * len(REASONS) + why] += cycles
