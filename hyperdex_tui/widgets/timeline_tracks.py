"""Tracks of the units over time as blocks; a cursor column, and letters for what an idle unit waits for."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.strip import Strip

from compiler.quantity import percent_text
from hyperdex_tui.backend.timeline import Piece, TokenTimeline
from hyperdex_tui.formatting import pad, pad_left
from hyperdex_tui.messages import RowMoved
from hyperdex_tui.widgets.painted import Line, Painted, Span, line, problem_lines

LABEL = 12
_BLOCKS = " ▁▂▃▄▅▆▇█"
_MOST_ROWS = 7
_LEAST_CYCLES = 4.0
"""Cycles of a window at the closest zoom."""


_LETTERS = {
    "": " ", "SMA": "M", "SXE": "X", "VXE": "V", "ESL": "L", "ICP": "C",
    "issue": "i", "hazard": "h", "stream": "s", "fifo": "f", "end": "·",
}  # fmt: skip


def reason_letter(reason: str) -> str:
    """One letter for a reason to wait: upper case for the unit whose result is waited for."""
    return _LETTERS.get(reason, "?")


def _block(share: float, below: int, rows: int) -> str:
    """A cell of a bar of `rows` rows with `below` rows under it; what is not nothing shows."""
    eighths = max(1, round(share * 8 * rows)) - 8 * below if share > 0 else 0
    return _BLOCKS[min(8, max(0, eighths))]


class TimelineTracks(Painted, can_focus=True):
    """Ruler, then two rows per unit: share worked, and reasons to wait."""

    marks_blurred: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(id="timeline-tracks")
        self.timeline: TokenTimeline | None = None
        self.problem = ""
        self.begin, self.end = 0.0, 1.0
        self.column = 0
        self.unit = 0
        self._chosen = -1

    def show(self, timeline: TokenTimeline) -> None:
        """Show a whole token; the cursor stays on its unit."""
        self.timeline = timeline
        self.begin, self.end = 0.0, timeline.cycles
        self.column = min(self.column, self.room - 1)
        self._moved()

    @property
    def room(self) -> int:
        """Columns of the window."""
        return max(10, self.size.width - LABEL)

    @property
    def step(self) -> float:
        """Cycles of a column."""
        return (self.end - self.begin) / self.room

    @property
    def time(self) -> float:
        """Cycle under the cursor."""
        return self.begin + (self.column + 0.5) * self.step

    @property
    def piece(self) -> Piece | None:
        """What runs on the chosen unit under the cursor, or next."""
        if self.timeline is None:
            return None
        track = self.timeline.tracks[self.unit]
        return self.timeline.piece_at(track, self._place())

    def _place(self) -> int:
        """Place of `piece` on its track: the one that was gone to, else what the cursor finds."""
        assert self.timeline is not None
        if self._chosen >= 0:
            return self._chosen
        low = self.begin + self.column * self.step
        return self.timeline.tracks[self.unit].at(low, low + self.step)

    def _moved(self, chosen: int = -1) -> None:
        self._chosen = chosen
        self.refresh()
        self.post_message(RowMoved(self, self.unit))

    def move(self, columns: int) -> None:
        """Move the cursor; at the border the window follows."""
        if self.timeline is None:
            return
        target = self.column + columns
        inside = max(0, min(target, self.room - 1))
        if target != inside:
            self._window(self.begin + (target - inside) * self.step, self.end - self.begin)
        self.column = inside
        self._moved()

    def choose_unit(self, step: int) -> None:
        """The next or previous unit."""
        if self.timeline is not None:
            self.unit = max(0, min(self.unit + step, len(self.timeline.tracks) - 1))
            self._moved()

    def zoom(self, factor: float) -> None:
        """Show more or less around the cursor, which stays on its cycle."""
        if self.timeline is None:
            return
        time, whole = self.time, self.timeline.cycles
        size = max(min(_LEAST_CYCLES, whole), min(whole, (self.end - self.begin) * factor))
        self._window(time - size * (self.column + 0.5) / self.room, size)
        self.column = max(0, min(int((time - self.begin) / self.step), self.room - 1))
        self._moved()

    def whole(self) -> None:
        """The whole token."""
        self.zoom(float("inf"))

    def next_piece(self, step: int) -> None:
        """To the next or previous slice of the unit."""
        if self.timeline is None:
            return
        track, place = self.timeline.tracks[self.unit], self._place()
        piece = self.timeline.piece_at(track, place)
        if piece is None:
            target = len(track.order) - 1 if step < 0 else -1
        else:
            ahead = self._chosen < 0 and piece.start > self.time + self.step / 2
            target = place if step > 0 and ahead else place + step
        found = self.timeline.piece_at(track, target)
        if found is None:
            return
        middle = (found.start + found.end) / 2
        if not self.begin <= middle < self.end:
            size = self.end - self.begin
            self._window(middle - size / 2, size)
        self.column = max(0, min(int((middle - self.begin) / self.step), self.room - 1))
        self._moved(target)

    def _window(self, begin: float, size: float) -> None:
        assert self.timeline is not None
        whole = self.timeline.cycles
        begin = max(0.0, min(begin, whole - size))
        self.begin, self.end = begin, begin + size

    def on_resize(self) -> None:
        """The cursor stays in the window."""
        self.column = min(self.column, self.room - 1)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where it was clicked."""
        if self.timeline is not None and event.x >= LABEL and event.y >= 1:
            self.unit = min((event.y - 1) // self._rows, len(self.timeline.tracks) - 1)
            self.column = min(event.x - LABEL, self.room - 1)
            self._moved()

    def render_line(self, y: int) -> Strip:
        """Ruler, track, or reasons."""
        width = self.size.width
        if self.timeline is None:
            lines: tuple[Line, ...] = (line(("  Calculating the token …", "dim")),)
            if self.problem:
                lines = problem_lines(self.problem, width, "Esc goes back.")
            return self.paint(lines[y - 1] if 1 <= y <= len(lines) else (), width)
        if y == 0:
            return self.paint(self._ruler(), width, "head")
        number, row = divmod(y - 1, self._rows)
        if number >= len(self.timeline.tracks):
            return self.paint((), width)
        below = self._rows - 2 - row  # rows of the bar under this one; the last row says why the unit waits
        return self.paint(self._work(number, below) if below >= 0 else self._waits(number), width)

    @property
    def _rows(self) -> int:
        """Rows of a unit: its bar, and what it waits for."""
        count = len(self.timeline.tracks) if self.timeline is not None else 1
        return max(2, min(_MOST_ROWS, (self.size.height - 1) // max(1, count)))

    def _ruler(self) -> Line:
        text = ""
        every = 16
        for column in range(0, self.room, every):
            label = f"|{self.begin + column * self.step:,.0f}"
            text += pad(label if column + len(label) <= self.room else "", every)
        return line((pad("cycle", LABEL), "dim"), (text[: self.room], "dim"))

    def _work(self, number: int, below: int) -> Line:
        """One row of a unit's bar, `below` rows of which are under it; its name stands beside the lowest."""
        assert self.timeline is not None
        track = self.timeline.tracks[number]
        chosen = number == self.unit
        busy = percent_text(track.busy, self.timeline.cycles)
        label = pad(track.name, 3) + pad_left(busy, 7) + " " if not below else " " * (LABEL - 1)
        spans: list[Span] = [("▶" if chosen and not below else " ", "accent"), (label, "strong" if chosen else "dim")]
        run, role = "", f"unit-{track.name}"
        for column, (share, _) in enumerate(self.timeline.columns(track, self.begin, self.end, self.room)):
            if column == self.column:
                spans += [(run, role), ("┃" if chosen else "│", "accent")]
                run = ""
            else:
                run += _block(share, below, self._rows - 1)
        return [*spans, (run, role)]

    def _waits(self, number: int) -> Line:
        assert self.timeline is not None
        track = self.timeline.tracks[number]
        letters = [reason_letter(reason) for _, reason in self.timeline.columns(track, self.begin, self.end, self.room)]
        letters[self.column] = "│"
        return line((" " * LABEL, "dim"), ("".join(letters), "dim"))
