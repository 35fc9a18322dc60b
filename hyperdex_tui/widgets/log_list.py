"""The log of a compile; follows its end while the cursor is on the last line."""

from __future__ import annotations

from hyperdex_tui.backend.progress import LogLine
from hyperdex_tui.formatting import pad, pad_left, seconds_text
from hyperdex_tui.widgets.painted import Line, line
from hyperdex_tui.widgets.row_list import RowList

_ROLES = {"warning": "warn", "error": "bad", "good": "good", "option": "accent", "head": "strong"}
_SIGNS = {"warning": "!", "error": "✗", "good": "✓", "option": "?", "head": "▪"}


class LogList(RowList):
    """One row per message: time, phase, level sign, text."""

    def __init__(self) -> None:
        super().__init__(id="log")
        self._lines: list[LogLine] = []
        self._shown = 0

    def show(self, lines: list[LogLine]) -> None:
        """Show the log; call again after it grew."""
        if lines is self._lines and len(lines) == self._shown:
            return
        at_end = self.cursor >= self._shown - 1
        self._lines, self._shown = lines, len(lines)
        self.rows_changed(len(lines) - 1 if at_end and not self.marked else self.cursor, same_rows=True)

    def row_count(self) -> int:
        """Lines."""
        return len(self._lines)

    def heading(self, width: int) -> Line:
        """Column titles."""
        return line((pad("    Time  Phase  Message", width), "head"))

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
        """Before the first event."""
        return (line(("  Waiting for the first event of the compile …", "dim")),)
