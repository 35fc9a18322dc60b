"""Values of the LMU while a plan runs: what each write made, which one an element shows, where each is stored."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from compiler.emulator.accesses import Extent

ALIGN = 16
"""Elements: a value begins on a cache line."""

FOREVER = 1 << 60
"""The last level that reads what the LMU shows in the end."""


@dataclass(slots=True, eq=False)
class Version:
    """One value in the LMU: what one operand of one node wrote, or what was there before (node -1).

    Attributes:
        begin, count, extent: as in `Span`.
        node: its writer.
        parent: another version with which it must keep its distance, see `Schedule`.
        address: where it lives while the plan runs.
        last: highest level that reads it; a large number when the LMU shows it in the end.
    """

    begin: int
    count: int
    extent: Extent | None
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


class Storage:
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


class Intervals:
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
        same = (begin, version.count, version.extent)
        if not version.extent:
            self._hidden = [each for each in self._hidden if each[1] < begin or each[1] + each[2] > end]
        for first, last, old in touched:
            if version.extent and (old.begin, old.count, old.extent) != same:
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
