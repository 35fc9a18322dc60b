"""A list that draws only the rows in sight, whatever its length.

Subclasses say how many rows there are and what row `i` looks like; the list
keeps cursor, scroll position and the range of marked rows. A cursor step
inside the window repaints two rows; nothing else is computed. A list is a
`Tabular`: what it shows can be copied and exported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Region
from textual.strip import Strip

from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import RowChosen, RowMoved
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.painted import Line, Painted, line

if TYPE_CHECKING:
    from typing_extensions import Self

_WHEEL_ROWS = 3
_MOST_STRIPS = 1024
"""Painted rows kept, so that a row that moves is not made again."""

_MARGIN = 2
"""Rows kept in sight above and below the cursor when a jump lands outside the window."""


class RowList(Painted, can_focus=True):
    """Base of every list. Posts RowMoved and RowChosen."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("list")
    marks_blurred: ClassVar[bool] = True
    """Whether the cursor shows while another widget has the keyboard."""

    def __init__(self, *, id: str | None = None) -> None:
        self._strips: dict[int, Strip] = {}
        self._title: tuple[Line, Strip] | None = None
        super().__init__(id=id)
        self.cursor = 0
        self.top = 0
        self._anchor = -1

    def follow(self) -> None:
        """The cursor is on another row: for what should change in the same frame; RowMoved comes one frame later."""

    def row_count(self) -> int:
        """Rows in the list."""
        raise NotImplementedError

    def row(self, index: int, width: int) -> Line:
        """What row `index` shows in `width` cells."""
        raise NotImplementedError

    def heading(self, width: int) -> Line:
        """Column titles; empty: the list has none."""
        return ()

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """What an empty list says; it tells what to do next."""
        return (line(("Nothing here.", "dim")),)

    @property
    def table_name(self) -> str:
        """Words for the name of an exported file."""
        return (self.id or "list").replace("-list", "")

    def columns(self) -> tuple[str, ...]:
        """Names of the columns, for copying and export; subclasses name what their rows hold."""
        return ("text",)

    def cells(self, index: int) -> tuple[Cell, ...]:
        """Values of row `index`, whole and uncut, one per column."""
        return ("".join(text for text, _ in self.row(index, max(self.size.width - 2, 78))).strip(),)

    @property
    def marked(self) -> range:
        """Rows from where marking began to the cursor; empty when none are marked."""
        if not 0 <= self._anchor < self.row_count():
            return range(0)
        return range(min(self._anchor, self.cursor), max(self._anchor, self.cursor) + 1)

    def unmark(self) -> bool:
        """End marking; False when nothing was marked."""
        had, self._anchor = bool(self.marked), -1
        if had:
            self.refresh()
        return had

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Repaint; without regions every row may look otherwise, with them only the rows' places changed."""
        if not regions:
            self._forget_strips()
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def notify_style_update(self) -> None:
        """Paint every row anew."""
        self._forget_strips()
        super().notify_style_update()

    def _forget_strips(self) -> None:
        self._strips.clear()
        self._title = None

    @property
    def _head(self) -> tuple[Line, Strip]:
        """The column titles and their painted line."""
        width = self.size.width
        if self._title is None or self._title[1].cell_length != width:
            spans = self.heading(width)
            self._title = (spans, self.paint(spans, width, "head"))
        return self._title

    @property
    def _head_rows(self) -> int:
        return 1 if self._head[0] else 0

    @property
    def window(self) -> int:
        """Rows in sight."""
        return max(1, self.size.height - self._head_rows)

    def rows_changed(self, cursor: int | None = None, *, same_rows: bool = False) -> None:
        """The rows are others now: put the cursor somewhere legal and repaint.

        Args:
            cursor: where to put it; None leaves it where it is.
            same_rows: the old rows are still there, with more behind them: marks stay.
        """
        if not same_rows:
            self._anchor = -1
        self.cursor = max(0, min(self.cursor if cursor is None else cursor, self.row_count() - 1))
        self._keep_in_sight()
        self.refresh()
        self.post_message(RowMoved(self, self.cursor if self.row_count() else -1))

    def move_to(self, index: int) -> None:
        """Put the cursor on row `index` (clipped)."""
        index = max(0, min(index, self.row_count() - 1))
        if index == self.cursor:
            return
        before, self.cursor = self.cursor, index
        self.follow()
        head = self._head_rows
        if self._keep_in_sight():
            self.refresh(Region(0, head, self.size.width, self.size.height - head))
        else:
            low, high = min(before, index), max(before, index)
            touched = range(low, high + 1) if self.marked else (low, high)
            rows = (row - self.top + head for row in touched)
            self.refresh(*(Region(0, y, self.size.width, 1) for y in rows if 0 <= y < self.size.height))
        self.post_message(RowMoved(self, index))

    def _keep_in_sight(self) -> bool:
        """Scroll so that the cursor is visible; True when the window moved."""
        window, before = self.window, self.top
        limit = max(0, self.row_count() - window)
        if self.cursor < self.top:
            jump = self.top - self.cursor > 1
            self.top = self.cursor - (min(_MARGIN, window // 4) if jump else 0)
        elif self.cursor >= self.top + window:
            jump = self.cursor - self.top - window > 0
            self.top = self.cursor - window + 1 + (min(_MARGIN, window // 4) if jump else 0)
        self.top = max(0, min(self.top, limit))
        return self.top != before

    def render_line(self, y: int) -> Strip:
        """Heading, one row, or the empty text."""
        width = self.size.width
        head_rows = self._head_rows
        if y < head_rows:
            return self._head[1]
        count = self.row_count()
        index = self.top + y - head_rows
        if count == 0:
            lines = self.empty_lines(width)
            at = y - head_rows - 1
            return self.paint(lines[at] if 0 <= at < len(lines) else (), width)
        if index >= count:
            return self.paint((), width)
        over, mark = "", ("  ", "dim")
        if index == self.cursor and (self.has_focus or self.marks_blurred):
            over, mark = "cursor" if self.has_focus else "cursor-blurred", ("▶ ", "accent")  # shows without colour too
        elif index in self.marked:
            over, mark = "cursor-blurred", ("▌ ", "accent")
        if over:  # the row of the cursor may look otherwise when nothing but the cursor moved
            return self.paint((mark, *self.row(index, width - 2)), width, over)
        strip = self._strips.get(index)
        if strip is None or strip.cell_length != width:
            if len(self._strips) >= _MOST_STRIPS:
                self._strips.clear()
            strip = self._strips[index] = self.paint((mark, *self.row(index, width - 2)), width)
        return strip

    def on_focus(self) -> None:
        """Show the cursor as active."""
        self.refresh()

    def on_blur(self) -> None:
        """Show the cursor as resting."""
        self.refresh()

    def on_resize(self) -> None:
        """Keep the cursor in sight when the window shrinks."""
        self._keep_in_sight()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the clicked row; a second click opens it."""
        index = self.top + event.y - self._head_rows
        if event.y < self._head_rows or index >= self.row_count():
            return
        if event.chain >= 2:
            self.post_message(RowChosen(self, index))
        else:
            self.move_to(index)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Move with the wheel."""
        event.stop()
        self.move_to(self.cursor + _WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Move with the wheel."""
        event.stop()
        self.move_to(self.cursor - _WHEEL_ROWS)

    def action_cursor_down(self) -> None:
        """Next row."""
        self.move_to(self.cursor + 1)

    def action_cursor_up(self) -> None:
        """Previous row."""
        self.move_to(self.cursor - 1)

    def action_page_down(self) -> None:
        """One window further."""
        self.move_to(self.cursor + self.window - 1)

    def action_page_up(self) -> None:
        """One window back."""
        self.move_to(self.cursor - self.window + 1)

    def action_first(self) -> None:
        """First row."""
        self.move_to(0)

    def action_last(self) -> None:
        """Last row."""
        self.move_to(self.row_count() - 1)

    def action_mark(self) -> None:
        """Begin marking at the cursor, or end it."""
        if not self.unmark() and self.row_count():
            self._anchor = self.cursor

    def action_choose(self) -> None:
        """Open the row under the cursor."""
        if self.row_count():
            self.post_message(RowChosen(self, self.cursor))
