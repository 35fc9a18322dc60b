"""Boxes as large as what they stand for; arrows choose one."""

from __future__ import annotations

from textual import events
from textual.strip import Strip

from compiler.memory_map import Region
from compiler.quantity import bytes_text, percent_text
from hyperdex_tui.backend.memory import OUTSIDE, letter_of
from hyperdex_tui.backend.treemap import TILE_CELLS, Box, Part, Tiles, box_at, lay_out, look_of, neighbour
from hyperdex_tui.formatting import pad
from hyperdex_tui.messages import RowChosen, RowMoved
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.memory_bar import role_of
from hyperdex_tui.widgets.painted import Painted, Span

_LEAST_CELLS = 14
"""Cells of a box on average: fewer, larger boxes say more."""


class Treemap(Painted, can_focus=True):
    """The parts of one area. Posts RowMoved and RowChosen with the number of the box."""

    def __init__(self) -> None:
        super().__init__(id="treemap")
        self._parts: tuple[Part, ...] = ()
        self._boxes: tuple[Box, ...] = ()
        self.cursor = 0
        self.by_layer = False

    def most(self, part: Part) -> int:
        """Into how many parts a part is divided at this size."""
        width, height = self.size.width, self.size.height
        if isinstance(part.holds, Region | Tiles):
            return max(4, width // TILE_CELLS[0] * (height // TILE_CELLS[1]))
        return max(4, width * height // _LEAST_CELLS)

    def show(self, parts: tuple[Part, ...], cursor: int) -> None:
        """Show parts with the cursor on one of them."""
        self._parts = parts
        self.cursor = max(0, min(cursor, len(parts) - 1))
        self._lay_out()
        self.post_message(RowMoved(self, self.cursor if parts else -1))

    def _lay_out(self) -> None:
        width, height = self.size.width, self.size.height
        self._boxes = lay_out(self._parts, width, height) if len(self._parts) <= width * height else ()
        self.refresh()

    def on_resize(self) -> None:
        """Lay out for the new size."""
        self._lay_out()

    @property
    def current(self) -> Part | None:
        """The part under the cursor."""
        return self._parts[self.cursor] if self.cursor < len(self._parts) else None

    def colour(self, by_layer: bool) -> None:
        """By kind or by layer."""
        self.by_layer = by_layer
        self.refresh()

    # as a table, for copying and export

    table_name = "treemap"
    marked = range(0)

    def columns(self) -> tuple[str, ...]:
        """What a box stands for."""
        return ("part", "device_bytes", "share", "kind", "layer")

    def row_count(self) -> int:
        """Boxes."""
        return len(self._parts)

    def cells(self, index: int) -> tuple[Cell, ...]:
        """One box."""
        part, whole = self._parts[index], sum(each.bytes for each in self._parts)
        layer = part.layer if part.layer >= 0 else None
        return part.title, part.bytes, part.bytes / whole, part.kind or None, layer

    def _go(self, index: int) -> None:
        if 0 <= index < len(self._boxes) and index != self.cursor:
            self.cursor = index
            self.refresh()
            self.post_message(RowMoved(self, index))

    def step(self, dx: int, dy: int) -> None:
        """To the box beside, above or below."""
        if self._boxes:
            self._go(neighbour(self._boxes, self.cursor, dx, dy))

    def next_box(self, step: int) -> None:
        """To another box in the order of addresses."""
        self._go(self.cursor + step)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the clicked box; a second click goes into it."""
        index = box_at(self._boxes, event.x, event.y)
        if index >= 0 and event.chain >= 2:
            self.post_message(RowChosen(self, index))
        else:
            self._go(index)

    def render_line(self, y: int) -> Strip:
        """One row of all boxes that cross it."""
        crossed = sorted((box.x, index) for index, box in enumerate(self._boxes) if box.y <= y < box.y + box.height)
        spans: list[Span] = []
        for _, index in crossed:
            spans += self._row(index, y - self._boxes[index].y)
        return self.paint(spans, self.size.width)

    def _row(self, index: int, row: int) -> list[Span]:
        """Row `row` of a box: words on its ground; a gap on the right and below where there is room for one."""
        box, is_chosen = self._boxes[index], index == self.cursor
        gap = 1 if box.width >= 4 else 0
        if box.height >= 3 and row == box.height - 1:
            return [(" " * box.width, "text")]
        role = role_of(self._key(box.part))
        words = self._words(box, row, is_chosen)
        shown = pad(words, box.width - gap)
        spans = [(shown, "cap" if is_chosen else role)]
        return [*spans, (" " * gap, "text")] if gap else spans

    def _words(self, box: Box, row: int, is_chosen: bool) -> str:
        part, mark = box.part, "▶" if is_chosen else letter_of(self._key(box.part))
        if box.width < 4:
            return mark if row == 0 else "▶" if is_chosen else ""
        if row == 0:
            return f"{mark} {part.title}"
        whole = sum(each.bytes for each in self._parts)
        if row == 1:
            size = f"  {bytes_text(part.bytes)}"
            whole_size = f"{size} {percent_text(part.bytes, whole)}"
            return next((text for text in (whole_size, size) if len(text) < box.width), "")
        return "▶" if is_chosen else ""

    def _key(self, part: Part) -> str:
        if self.by_layer:
            return f"layer {part.layer}" if part.layer >= 0 else OUTSIDE
        return look_of(part)
