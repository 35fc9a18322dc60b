"""One token in time, ready to be drawn at any zoom: per unit its slices in order of their start.

In: the `timeline` record of the emulator. A window of it is drawn by asking
each unit for the share of every column in which it works, two searches a
column, so that a frame costs the same for a hundred slices and for a million.
"""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, islice

from compiler.debug_records import Timeline

_PASSED = 16
"""Slices that may run while another one of their unit waits."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One instruction in time.

    Attributes:
        index: in program order.
        unit: its name.
        start, end: cycles from the start of the token.
        waited: cycles its unit stood still for it.
        reason: why, "" when it did not.
    """

    index: int
    pc: int
    unit: str
    start: float
    end: float
    waited: float
    reason: str


class Track:
    """The slices of one unit.

    Attributes:
        name: of the unit.
        order: their indices in the token, by start.
        waits: reason -> cycles.
    """

    def __init__(self, name: str, order: array[int], starts: array[float], ends: array[float]) -> None:
        self.name = name
        self.order = order
        self.starts = array("d", (starts[index] for index in order))
        self.ends = array("d", (ends[index] for index in order))
        self.waits: dict[str, float] = {}
        lengths = (end - start for start, end in zip(self.starts, self.ends, strict=True))
        self._before = array("d", accumulate(lengths, initial=0.0))

    @property
    def busy(self) -> float:
        """Cycles of all slices."""
        return self._before[-1]

    def worked(self, time: float) -> float:
        """Cycles worked until `time`."""
        count = bisect_left(self.starts, time)
        overrun = max(0.0, self.ends[count - 1] - time) if count else 0.0
        return self._before[count] - overrun

    def share(self, begin: float, end: float) -> float:
        """Share of [begin, end) in which it works, 0 to 1."""
        return max(0.0, min(1.0, (self.worked(end) - self.worked(begin)) / (end - begin))) if end > begin else 0.0

    def at(self, begin: float, end: float) -> int:
        """Place of the slice that runs in [begin, end), else of the next one; -1 behind the last."""
        place = bisect_right(self.starts, begin) - 1
        if place >= 0 and self.ends[place] > begin:
            return place
        return place + 1 if place + 1 < len(self.starts) else -1


class TokenTimeline:
    """A token in time.

    Attributes:
        position: of the token.
        prompt: whether its logits are not needed.
        cycles: from first to last instruction.
        clock_hz: cycles per second.
        tracks: one per unit.

    Raises:
        ValueError: the columns of the record do not fit together.
    """

    def __init__(self, record: Timeline) -> None:
        self.position = record.position
        self.prompt = record.prompt
        self.cycles = max(1.0, record.cycles)
        self.clock_hz = record.clock_hz
        self._units, self._reasons = record.unit_names, record.reason_names
        self._pcs: array[int] = _column("i", record.pcs)
        self._unit_of: array[int] = _column("B", record.units)
        self._starts: array[float] = _column("d", record.starts)
        self._ends: array[float] = _column("d", record.ends)
        self._waits: array[float] = _column("d", record.waits)
        self._reason_of: array[int] = _column("B", record.reasons)
        columns = (self._unit_of, self._starts, self._ends, self._waits, self._reason_of)
        if any(len(column) != len(self._pcs) for column in columns):
            raise ValueError("the columns of a timeline differ in length")
        if max(self._unit_of, default=0) >= len(self._units) or max(self._reason_of, default=0) >= len(self._reasons):
            raise ValueError("a timeline names a unit or reason that it does not list")
        self.tracks = tuple(self._track(number) for number in range(len(self._units)))

    def _track(self, number: int) -> Track:
        chosen = (index for index, unit in enumerate(self._unit_of) if unit == number)
        track = Track(
            self._units[number], array("i", sorted(chosen, key=self._starts.__getitem__)), self._starts, self._ends
        )
        for index in track.order:
            if self._waits[index] > 0:
                reason = self._reasons[self._reason_of[index]]
                track.waits[reason] = track.waits.get(reason, 0.0) + self._waits[index]
        return track

    def __len__(self) -> int:
        return len(self._pcs)

    def piece(self, index: int) -> Piece:
        """Slice `index` of the token, in program order."""
        return Piece(
            index, self._pcs[index], self._units[self._unit_of[index]], self._starts[index], self._ends[index],
            self._waits[index], self._reasons[self._reason_of[index]],
        )  # fmt: skip

    def piece_at(self, track: Track, place: int) -> Piece | None:
        """Slice by its place on a track."""
        return self.piece(track.order[place]) if 0 <= place < len(track.order) else None

    def columns(self, track: Track, begin: float, end: float, count: int) -> Iterator[tuple[float, str]]:
        """For each of `count` columns of [begin, end): the share worked, and why the unit waits where that is 0."""
        step = (end - begin) / count
        for column in range(count):
            low = begin + column * step
            share = track.share(low, low + step)
            yield share, "" if share > 0 else self._reason(track, low + step / 2)

    def _reason(self, track: Track, time: float) -> str:
        """Why the unit stands still at `time`: for the first slice behind that waited for so long.

        A slice that needs not wait, as a write between two reads, may run while another one waits.
        """
        place = bisect_left(track.starts, time)
        if place == len(track.order):
            return "end"
        for index in islice(track.order, place, place + _PASSED):
            start = self._starts[index]
            idle = start - time - (track.worked(start) - track.worked(time))
            if 0 < self._waits[index] >= idle:
                return self._reasons[self._reason_of[index]]
        return "issue"


def _column(code: str, packed: str) -> array:  # type: ignore[type-arg]
    """Numbers from base64 of little-endian values.

    Raises:
        ValueError: it is none.
    """
    column = array(code)
    column.frombytes(b64decode(packed, validate=True))
    if sys.byteorder == "big":
        column.byteswap()
    return column
