"""The scheduler's clock: a static prediction of when each instruction is issued, starts and ends.

In: the demands of instructions in an order, and what each kind of work costs on a target. Out: whole cycles, and what
each unit waited for. It is written from the same model as the emulator's clock (`docs/timing.md`) and shares nothing
with it but the cost of one instruction; tests compare the two. `program/token_path.py` times one turn of a token loop.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from compiler.isa.spec import Unit
from compiler.program.demand import UNITS, Demand, Role
from compiler.target.timing import FORWARDED_TO, Rules, Work

_SMA, _ICP = UNITS.index(Unit.SMA), UNITS.index(Unit.ICP)
_FORWARDED_TO = UNITS.index(FORWARDED_TO)
_NAMES = tuple(unit.value for unit in UNITS)
_CONTROL, _OPEN, _POST = int(Role.CONTROL), int(Role.OPEN), int(Role.POST)


class Wait(NamedTuple):
    """A unit stood still.

    Attributes:
        who: the instruction for which it did.
        unit: its place in `UNITS`.
        reason: the unit whose result it waited for, or issue, hazard, stream, fifo.
    """

    who: int
    unit: int
    reason: str
    cycles: int


@dataclass(slots=True)
class _Streams:
    """All bytes that were asked for, in order, and how far the engines have read them."""

    places: dict[int, int] = field(default_factory=dict)
    begins: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    read_before: list[int] = field(default_factory=list)

    def ask(self, who: int, begin: int, count: int) -> None:
        """Bytes asked for behind all others."""
        self.places[who] = len(self.begins)
        self.begins.append(begin)
        self.counts.append(count)
        self.reads.append((0, 0))
        self.read_before.append(self.read_before[-1] if self.read_before else 0)

    def read(self, who: int, start: int, end: int) -> None:
        """An engine reads them evenly in [start, end)."""
        place, before = self.places[who], self.read_before
        self.reads[place] = start, end
        while place < len(before) and before[place] < end:
            before[place] = end
            place += 1

    def read_until(self, byte: int) -> int:
        """When all bytes up to this offset had been read, as far as readers are known."""
        place = bisect_right(self.begins, byte) - 1
        start, end = self.reads[place]
        inside = byte - self.begins[place]
        partly = start + -(-(end - start) * inside // self.counts[place]) if end else 0
        return max(partly, self.read_before[place - 1] if place else 0)


class Prediction:
    """Instructions placed so far, by number, and the state of the units behind them.

    Args:
        rules: of the target, number of devices and dtype.
        works: of each kind, by these rules.
        count: above all numbers.

    Attributes:
        issue: the ICP has dispatched it.
        start: its unit begins, or the SMA asks for the first byte.
        end: its unit is free again.
        written: its result is, which is when the link may send it.
        ready: an instruction of any other unit may read it.
        free: when each unit is, by its place in `UNITS`.
        waits: who stood still, in the order in which instructions were placed.
    """

    def __init__(self, rules: Rules, works: Sequence[Work], count: int) -> None:
        self.issue, self.start, self.end, self.written, self.ready = ([0] * count for _ in range(5))
        self.free = [0] * len(UNITS)
        self.waits: list[Wait] = []
        self._units = [0] * count
        self._rules, self._works = rules, works
        timing = rules.target.timing
        self._issue_cycles, self._fifo_bytes = timing.issue_cycles, timing.fifo_bytes
        self._latency = timing.hbm_latency_cycles
        self._issued = self._asked = 0
        self._streams = _Streams()

    @property
    def cycles(self) -> int:
        """From 0 until everything is over."""
        return max(max(self.end, default=0), max(self.ready, default=0))

    def known_to(self, unit: int) -> Sequence[int]:
        """When a unit, by its place in `UNITS`, may read the result of each instruction placed so far."""
        return self.written if unit == _FORWARDED_TO else self.ready

    def place(self, who: int, demand: Demand) -> None:
        """Place one instruction behind the others."""
        unit, role, kind, results, hazards, _ = demand
        self._units[who] = unit
        self._issued = last = self._issued + self._issue_cycles
        self.issue[who] = last
        reason, end = "issue", self.end
        known = self.known_to(unit)
        for result in results:
            if known[result] > last:
                last, reason = known[result], _NAMES[self._units[result]]
        for hazard in hazards:
            if end[hazard] > last:
                last, reason = end[hazard], "hazard"
        if role == _CONTROL:
            self._wait(who, _ICP, reason, last - self._issued)
            self.start[who] = last - self._issue_cycles
            self._issued = end[who] = self.written[who] = self.ready[who] = last
        elif role == _OPEN:
            self._open(who, self._works[kind], last, reason)
        elif role == _POST:
            work = self._works[kind]
            self.free[_SMA] += work.cycles
            self.start[who] = last
            self._ends(who, last + work.cycles, work)
        else:
            self._execute(who, demand, last, reason)

    def _open(self, who: int, work: Work, gate: int, reason: str) -> None:
        first, free = self._asked, self.free[_SMA]
        if first > self._fifo_bytes:
            room = self._streams.read_until(first - self._fifo_bytes)
            if room > gate:
                gate, reason = room, "fifo"
        self._streams.ask(who, first, work.stream_bytes)
        self._asked += work.stream_bytes
        self._wait(who, _SMA, reason, gate - free)
        start = max(free, gate)
        self.start[who] = start
        self.free[_SMA] = self.end[who] = self.written[who] = self.ready[who] = start + work.cycles

    def _execute(self, who: int, demand: Demand, gate: int, reason: str) -> None:
        unit, _, kind, _, _, streams = demand
        work, free = self._works[kind], self.free[unit]
        if streams and self.start[streams[0]] + self._latency > gate:
            gate, reason = self.start[streams[0]] + self._latency, "stream"
        self._wait(who, unit, reason, gate - free)
        start = max(free, gate)
        end = start + work.cycles
        if streams:
            end = self._read(who, unit, streams, start, end)
        self.start[who] = start
        self.free[unit] = end
        self._ends(who, end, work)

    def _ends(self, who: int, end: int, work: Work) -> None:
        self.end[who] = end
        self.written[who] = written = end + work.latency
        self.ready[who] = written + work.retire

    def _read(self, who: int, unit: int, streams: Sequence[int], start: int, end: int) -> int:
        """The engines read streams evenly from `start` until the last byte has come, not before `end`; returns when."""
        known = self._streams
        count = asked = 0
        for stream in streams:
            count += known.counts[known.places[stream]]
            asked = max(asked, self.end[stream])
        arrived, beyond = asked + self._latency, count - self._fifo_bytes
        if beyond > 0:
            arrived = max(arrived, start + self._rules.stream_cycles(beyond))
        self._wait(who, unit, "stream", arrived - end)
        end = max(end, arrived)
        for stream in streams:
            known.read(stream, start, end)
        if beyond > 0:  # these bytes did not fit the FIFO before
            free, room = self.free[_SMA], start + -(-(end - start) * beyond // count)
            self._wait(who, _SMA, "fifo", room - free)
            self.free[_SMA] = max(free, room)
        return end

    def _wait(self, who: int, unit: int, reason: str, cycles: int) -> None:
        if cycles > 0:
            self.waits.append(Wait(who, unit, reason, cycles))
