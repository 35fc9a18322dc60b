"""The log of a compile; follows its end while the cursor is on the last line."""

from __future__ import annotations

from hyperdex_tui.backend.progress import JobProgress, LogLine
from hyperdex_tui.formatting import pad, pad_left, seconds_text
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.painted import Line, line
from hyperdex_tui.widgets.row_list import RowList

_ROLES = {"warning": "warn", "error": "bad", "good": "good", "option": "accent", "head": "strong"}
_SIGNS = {"warning": "!", "error": "✗", "good": "✓", "option": "?", "head": "▪"}

LEVELS: dict[str, frozenset[str]] = {
    "everything": frozenset(),
    "phases and problems": frozenset({"head", "good", "warning", "error"}),
    "problems": frozenset({"warning", "error"}),
}
"""What the log can be narrowed to; an empty set shows every level."""


class LogList(RowList):
    """One row per message: time, phase, level sign, text. Narrowed by level and by a text."""

    def __init__(self) -> None:
        super().__init__(id="log")
        self._lines: list[LogLine] = []
        self._seen = 0
        self.level = "everything"
        self.filter = ""

    def show(self, progress: JobProgress) -> None:
        """Show the log; call again after it grew."""
        total = progress.dropped + len(progress.log)
        if total == self._seen:
            return
        new = progress.log[max(0, self._seen - progress.dropped) :]
        at_end = self.cursor >= len(self._lines) - 1
        self._seen = total
        self._lines += [entry for entry in new if self._passes(entry)]
        self.rows_changed(len(self._lines) - 1 if at_end and not self.marked else self.cursor, same_rows=True)

    def narrow(self, progress: JobProgress, level: str, text: str) -> None:
        """Show only lines of a level of LEVELS that contain all words of a text."""
        self.level, self.filter = level, text
        self._lines = [entry for entry in progress.log if self._passes(entry)]
        self._seen = progress.dropped + len(progress.log)
        self.rows_changed(len(self._lines) - 1)

    def _passes(self, entry: LogLine) -> bool:
        levels = LEVELS[self.level]
        shown = entry.text.casefold()
        return (not levels or entry.level in levels) and all(word in shown for word in self.filter.casefold().split())

    @property
    def current(self) -> LogLine | None:
        """The line under the cursor."""
        return self._lines[self.cursor] if 0 <= self.cursor < len(self._lines) else None

    def row_count(self) -> int:
        """Lines."""
        return len(self._lines)

    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return ("seconds", "phase", "level", "text")

    def cells(self, index: int) -> tuple[Cell, ...]:
        """Values of a line."""
        entry = self._lines[index]
        return (round(entry.seconds, 3), entry.phase if entry.phase >= 0 else None, entry.level, entry.text)

    def heading(self, width: int) -> Line:
        """Column titles, and what is left out."""
        parts = [self.level] if self.level != "everything" else []
        parts += [f"with {self.filter}"] if self.filter else []
        narrowed = f"  (only {', '.join(parts)}; Esc shows all)" if parts else ""
        return line((pad(f"    Time  Phase  Message{narrowed}", width), "head"))

    def row(self, index: int, width: int) -> Line:
        """One message."""
        entry = self._lines[index]
        phase = str(entry.phase) if entry.phase >= 0 else " "
        role = _ROLES.get(entry.level, "text")
        sign = _SIGNS.get(entry.level, " ")
        return line(
            (pad_left(seconds_text(entry.seconds), 7), "dim"), (f"    {phase}  ", "dim"), (f"{sign} {entry.text}", role)
        )

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """Before the first event, or nothing passes."""
        if self._seen:
            return (line(("  No line of the log passes. Esc shows all.", "dim")),)
        return (line(("  Waiting for the first event of the compile …", "dim")),)
