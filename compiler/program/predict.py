"""The scheduler's clock: a static prediction of when each instruction is issued, starts and ends.

In: instructions one by one, before or after their LMU addresses are chosen, and the latency rules of their target.
Out: whole cycles, and what each unit waited for. It is written from the same model as the emulator's clock
(`docs/timing.md`) and shares nothing with it but the cost of one instruction; tests compare the two.

`Prediction` can be asked what an instruction would cost, and can take instructions back, so that a scheduler may try
several. `predict_token` times one turn of a program's token loop.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from compiler.isa.encode import Instruction
from compiler.isa.spec import Unit
from compiler.program.demand import Demand, Scoreboard, integer, operands_of
from compiler.program.virtual import Label, Register, VirtualInstruction
from compiler.target.timing import BY_LENGTH, Rules

_HELD: dict[int, int] = {
    Register.ZERO: 0,
    Register.POSITION: 1,
    Register.LENGTH: 2,
    Register.STOP: 0,
    Register.LAST_OUTPUT: 1 << 30,
}
"""Registers in the second turn of the token loop."""

_TAKEN = {"beq": operator.eq, "bne": operator.ne, "blt": operator.lt, "bge": operator.ge}


class Wait(NamedTuple):
    """A unit stood still: `reason` is the unit whose result it waited for, or issue, hazard, stream, fifo, end."""

    unit: Unit
    reason: str
    cycles: int


class Times(NamedTuple):
    """One instruction in time, in cycles from the start.

    Attributes:
        issue: the ICP has dispatched it.
        start: its unit begins, or the SMA asks for the first byte.
        end: its unit is free again.
        ready: its result may be read.
        busy: cycles of work for its unit.
        waits: who stood still for it, its own unit first.
        stream_bytes: it moves from or to HBM.
        streams: those it read.
    """

    unit: Unit
    issue: int
    start: int
    end: int
    ready: int
    busy: int
    waits: tuple[Wait, ...]
    stream_bytes: int = 0
    streams: tuple[int, ...] = ()


class Mark(NamedTuple):
    """A state to return to."""

    placed: int
    undone: int
    issued: int
    stream_bytes: int
    free: tuple[tuple[Unit, int], ...]


@dataclass(slots=True)
class _Streams:
    """All bytes that were asked for, in order, and how far the engines have read them."""

    places: dict[int, int] = field(default_factory=dict)
    begins: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    read_before: list[int] = field(default_factory=list)

    def read_until(self, byte: int) -> int:
        """When all bytes up to this offset had been read, as far as readers are known."""
        place = bisect_right(self.begins, byte) - 1
        start, end = self.reads[place]
        inside = byte - self.begins[place]
        partly = start + -(-(end - start) * inside // self.counts[place]) if end else 0
        return max(partly, self.read_before[place - 1] if place else 0)


class Prediction:
    """Instructions placed so far, and the state of the units behind them.

    Args:
        rules: of the target, number of devices and dtype.

    Attributes:
        times: of each placed instruction.
        cycles: until the last of them has ended and its result is ready.
        stream_bytes: moved from and to HBM.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.times: list[Times] = []
        self.stream_bytes = 0
        self._issued = 0
        self._free: dict[Unit, int] = dict.fromkeys(Unit, 0)
        self._streams = _Streams()
        self._undo: list[tuple[int, int]] = []

    @property
    def cycles(self) -> int:
        """From 0 until everything is over."""
        return max((max(times.end, times.ready) for times in self.times), default=0)

    def earliest(self, unit: Unit, results: Iterable[int]) -> int:
        """Lower bound of the start of an instruction that reads the results of placed ones; cheap."""
        start, times = self._free[unit], self.times
        for result in results:
            if times[result].ready > start:
                start = times[result].ready
        return start

    def trial(self, demands: Sequence[Demand]) -> Times:
        """The times of the last of several instructions, were they placed now; places nothing."""
        mark = self.mark()
        for demand in demands:
            placed = self.append(demand)
        self.rollback(mark)
        return placed

    def mark(self) -> Mark:
        """The present state, for `rollback`."""
        return Mark(len(self.times), len(self._undo), self._issued, self.stream_bytes, tuple(self._free.items()))

    def rollback(self, mark: Mark) -> None:
        """Take back everything placed since a mark."""
        while len(self._undo) > mark.undone:
            place, before = self._undo.pop()
            self._streams.read_before[place] = before
        for times_of in self.times[mark.placed :]:
            for stream in times_of.streams:
                self._streams.reads[self._streams.places[stream]] = (0, 0)
        streams = self._streams
        while streams.places and next(reversed(streams.places)) >= mark.placed:
            streams.places.popitem()
        opened = len(streams.places)
        for values in (streams.begins, streams.counts, streams.reads, streams.read_before):
            del values[opened:]
        del self.times[mark.placed :]
        self._issued, self.stream_bytes = mark.issued, mark.stream_bytes
        self._free = dict(mark.free)

    def append(self, demand: Demand) -> Times:
        """Place one instruction behind the others; its number is that of its times."""
        self._issued += self.rules.target.timing.issue_cycles
        gate, reason = self._gate(demand)
        if demand.unit is Unit.ICP:
            placed = self._control(gate, reason)
        elif demand.opens:
            placed = self._open(demand, gate, reason)
        elif demand.unit is Unit.SMA:
            placed = self._post(demand, gate)
        else:
            placed = self._execute(demand, gate, reason)
        self.times.append(placed)
        return placed

    def _gate(self, demand: Demand) -> tuple[int, str]:
        """When an instruction is dispatched, its operands ready and its destination unused; and which came last."""
        last, reason = self._issued, "issue"
        for result in demand.results:
            made = self.times[result]
            if made.ready > last:
                last, reason = made.ready, made.unit.value
        for hazard in demand.hazards:
            if self.times[hazard].end > last:
                last, reason = self.times[hazard].end, "hazard"
        return last, reason

    def _control(self, gate: int, reason: str) -> Times:
        issued, self._issued = self._issued, gate
        start = gate - self.rules.target.timing.issue_cycles
        return Times(Unit.ICP, issued, start, gate, gate, 0, _waits(Unit.ICP, reason, gate - issued))

    def _open(self, demand: Demand, gate: int, reason: str) -> Times:
        streams, count = self._streams, demand.work.stream_bytes
        first = sum(streams.counts[-1:], streams.begins[-1]) if streams.begins else 0
        free, beyond = self._free[Unit.SMA], first - self.rules.target.timing.fifo_bytes
        if beyond > 0 and streams.read_until(beyond) > gate:
            gate, reason = streams.read_until(beyond), "fifo"
        start = max(free, gate)
        end = start + self.rules.stream_cycles(count)
        streams.places[len(self.times)] = len(streams.begins)
        streams.begins.append(first)
        streams.counts.append(count)
        streams.reads.append((0, 0))
        streams.read_before.append(streams.read_before[-1] if streams.read_before else 0)
        self._free[Unit.SMA] = end
        self.stream_bytes += count
        return Times(
            Unit.SMA, self._issued, start, end, end, end - start, _waits(Unit.SMA, reason, start - free), count
        )

    def _post(self, demand: Demand, start: int) -> Times:
        cycles = self.rules.stream_cycles(demand.work.stream_bytes)
        self._free[Unit.SMA] += cycles
        self.stream_bytes += demand.work.stream_bytes
        end = start + cycles
        return Times(
            Unit.SMA, self._issued, start, end, end + demand.work.latency, cycles, (), demand.work.stream_bytes
        )

    def _execute(self, demand: Demand, gate: int, reason: str) -> Times:
        unit, work, free = demand.unit, demand.work, self._free[demand.unit]
        latency = self.rules.target.timing.hbm_latency_cycles
        waits: list[Wait] = []
        if demand.streams and self.times[demand.streams[0]].start + latency > gate:
            gate, reason = self.times[demand.streams[0]].start + latency, "stream"
        start = max(free, gate)
        waits += _waits(unit, reason, start - free)
        end = start + work.cycles
        if demand.streams:
            asked = max(self.times[stream].end for stream in demand.streams) + latency
            beyond = max(0, self._bytes(demand.streams) - self.rules.target.timing.fifo_bytes)
            arrived = max(asked, start + self.rules.stream_cycles(beyond))
            waits += _waits(unit, "stream", arrived - end)
            end = max(end, arrived)
            waits += self._read(demand.streams, start, end, beyond)
        self._free[unit] = end
        return Times(unit, self._issued, start, end, end + work.latency, work.cycles, tuple(waits), 0, demand.streams)

    def _bytes(self, streams: Sequence[int]) -> int:
        return sum(self._streams.counts[self._streams.places[stream]] for stream in streams)

    def _read(self, opened: Sequence[int], start: int, end: int, beyond: int) -> tuple[Wait, ...]:
        """The engines read streams evenly in [start, end); `beyond` of their bytes did not fit the FIFO before."""
        streams = self._streams
        for stream in opened:
            place = streams.places[stream]
            streams.reads[place] = (start, end)
            while place < len(streams.read_before) and streams.read_before[place] < end:
                self._undo.append((place, streams.read_before[place]))
                streams.read_before[place] = end
                place += 1
        if not beyond:
            return ()
        free = self._free[Unit.SMA]
        asked = start + -(-(end - start) * beyond // self._bytes(opened))
        self._free[Unit.SMA] = max(free, asked)
        return _waits(Unit.SMA, "fifo", asked - free)


def _waits(unit: Unit, reason: str, cycles: int) -> tuple[Wait, ...]:
    return (Wait(unit, reason, cycles),) if cycles > 0 else ()


@dataclass(frozen=True, slots=True)
class TokenPrediction:
    """One turn of a program's token loop.

    Attributes:
        pcs: of its instructions.
        times: of each of them.
        busy: cycles per unit; with its stalls they make `cycles`.
        stalls: cycles per unit and reason.
    """

    pcs: tuple[int, ...]
    times: tuple[Times, ...]
    cycles: int
    stream_bytes: int
    busy: dict[Unit, int]
    stalls: dict[tuple[Unit, str], int]


class TokenPath:
    """One turn of a program's token loop, to be predicted at several positions.

    Args:
        prompt: the token's logits are not needed.

    Attributes:
        pcs: of its instructions.
        issue_cycles: of the ICP for each.
    """

    def __init__(
        self,
        instructions: Sequence[Instruction | VirtualInstruction],
        labels: Mapping[str, int],
        rules: Rules,
        *,
        prompt: bool = False,
    ) -> None:
        self.pcs = tuple(token_path(instructions, labels, prompt=prompt))
        self.issue_cycles = rules.target.timing.issue_cycles
        self._rules = rules
        self._board = Scoreboard(rules, 1)
        self._demands = [self._board.show(instructions[pc]) for pc in self.pcs]
        growing = {place for place, pc in enumerate(self.pcs) if _grows(instructions[pc])}
        self._growing = {place: operands_of(instructions[self.pcs[place]]) for place in sorted(growing)}

    def at(self, position: int) -> TokenPrediction:
        """The token at a position."""
        self._board.lengthen(position + 1)
        for place, (spec, given) in self._growing.items():
            self._demands[place] = self._demands[place]._replace(work=self._board.work(spec, given))
        prediction = Prediction(self._rules)
        for demand in self._demands:
            prediction.append(demand)
        return summary(prediction, self.pcs)


def predict_token(
    instructions: Sequence[Instruction | VirtualInstruction],
    labels: Mapping[str, int],
    rules: Rules,
    position: int,
    *,
    prompt: bool = False,
) -> TokenPrediction:
    """Predict the token at a position from a program alone; `prompt` when its logits are not needed."""
    return TokenPath(instructions, labels, rules, prompt=prompt).at(position)


def _grows(instr: Instruction | VirtualInstruction) -> bool:
    """Whether the length of the text decides what an instruction costs."""
    _, given = operands_of(instr)
    return any(given.get(name, 0) for name in BY_LENGTH)


def summary(prediction: Prediction, pcs: Sequence[int]) -> TokenPrediction:
    """Busy and stalled cycles of what was placed, up to its end."""
    cycles = prediction.cycles
    busy = dict.fromkeys(Unit, 0)
    stalls: dict[tuple[Unit, str], int] = {}
    for times in prediction.times:
        busy[times.unit] += times.busy
        for wait in times.waits:
            stalls[wait.unit, wait.reason] = stalls.get((wait.unit, wait.reason), 0) + wait.cycles
    busy[Unit.ICP] += prediction.rules.target.timing.issue_cycles * len(prediction.times)
    for unit in Unit:
        rest = cycles - busy[unit] - sum(total for (who, _), total in stalls.items() if who is unit)
        if rest:
            stalls[unit, "end"] = rest
    return TokenPrediction(tuple(pcs), tuple(prediction.times), cycles, prediction.stream_bytes, busy, stalls)


def token_path(
    instructions: Sequence[Instruction | VirtualInstruction], labels: Mapping[str, int], *, prompt: bool
) -> list[int]:
    """The instructions of a token in the middle of a prompt, or in the middle of the new tokens.

    Control is decided by what lowering keeps in its registers, not executed; without a token loop the path runs
    from the first instruction.
    """
    specs = [operands_of(instr) for instr in instructions]

    def target(pc: int) -> int:
        value = specs[pc][1]["target"]
        return labels[value.name] if isinstance(value, Label) else integer(specs[pc][1], "target")

    loops = [pc for pc, (spec, _) in enumerate(specs) if spec.mnemonic == "jmp" and target(pc) <= pc]
    end = loops[-1] if loops else len(specs) - 1
    pc = target(end) if loops else 0
    loaded = {integer(given, "dst"): integer(given, "value") for spec, given in specs[:pc] if spec.mnemonic == "li"}
    held: dict[int, int] = {**loaded, **_HELD, Register.LAST_PROMPT: 2 if prompt else 0}
    path: list[int] = []
    while pc <= end and len(path) <= len(specs):
        spec, given = specs[pc]
        path.append(pc)
        if pc == end or spec.mnemonic == "hlt":
            break
        if spec.mnemonic in _TAKEN:
            taken = _TAKEN[spec.mnemonic](held.get(integer(given, "a"), 0), held.get(integer(given, "b"), 0))
            pc = target(pc) if taken else pc + 1
        else:
            pc = target(pc) if spec.mnemonic == "jmp" else pc + 1
    return path
