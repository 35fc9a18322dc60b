"""Which rows a listing has: sections with their instructions, some folded, or only matches.

Row numbers are computed from the sections' borders; nothing is proportional to
the length of the program.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, count
from operator import add

from hyperdex_tui.backend.program import Program


@dataclass(frozen=True, slots=True)
class Row:
    """A section title (`pc` is -1) or an instruction."""

    section: int
    pc: int = -1


class Listing:
    """The rows of a program under folds or a filter."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._folded: set[int] = set()
        self._matches: Sequence[int] | None = None
        self._starts: array[int] = array("q")
        self._count = 0
        self._lay_out()

    def _lay_out(self) -> None:
        """Where each section starts, title first."""
        begins = self.program.sections.begins
        if not self._folded:
            self._starts = array("q", map(add, begins, count()))
            self._count = self.program.count + len(begins)
            return
        ends = chain(begins[1:], (self.program.count,))
        sizes = array("q", (end - begin + 1 for begin, end in zip(begins, ends, strict=True)))
        for section in self._folded:
            sizes[section] = 1
        self._starts = array("q", accumulate(sizes, initial=0))
        self._count = self._starts.pop()

    @property
    def is_filtered(self) -> bool:
        """Whether only matches are shown."""
        return self._matches is not None

    @property
    def row_count(self) -> int:
        """Rows."""
        return self._count if self._matches is None else len(self._matches)

    def row(self, index: int) -> Row:
        """Row `index`."""
        if self._matches is not None:
            pc = self._matches[index]
            return Row(self.program.section_at(pc), pc)
        section = bisect_right(self._starts, index) - 1
        inside = index - self._starts[section] - 1
        return Row(section) if inside < 0 else Row(section, self.program.sections.begins[section] + inside)

    def row_of(self, pc: int) -> int:
        """The row of an instruction, or of the title it is folded into; the nearest match when filtered."""
        if self._matches is not None:
            return min(bisect_left(self._matches, pc), max(0, len(self._matches) - 1))
        section = self.program.section_at(pc)
        if section in self._folded:
            return self._starts[section]
        return self._starts[section] + 1 + pc - self.program.sections.begins[section]

    def shows(self, pc: int) -> bool:
        """Whether an instruction is among the matches, where only those are shown."""
        if self._matches is None:
            return True
        at = bisect_left(self._matches, pc)
        return at < len(self._matches) and self._matches[at] == pc

    def title_row(self, section: int) -> int:
        """The row of a section's title; of its first match when filtered."""
        if self._matches is not None:
            return self.row_of(self.program.sections[section].begin)
        return self._starts[section]

    def is_folded(self, section: int) -> bool:
        """Whether only the title is shown."""
        return section in self._folded

    def fold(self, section: int, folded: bool) -> None:
        """Fold or unfold one section."""
        if folded != (section in self._folded):
            (self._folded.add if folded else self._folded.discard)(section)
            self._lay_out()

    def fold_all(self) -> None:
        """Fold every section, or unfold all when all are folded."""
        count = len(self.program.sections)
        self._folded = set() if len(self._folded) == count else set(range(count))
        self._lay_out()

    def show_matches(self, matches: Sequence[int] | None) -> None:
        """Show only these instructions, ascending; None shows all again."""
        self._matches = matches
