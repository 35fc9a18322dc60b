"""The memory of a device as boxes to scale: layers, their tensors, tiles, and at last bytes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.memory_map import MemoryMap, Region
from compiler.quantity import bytes_text, percent_text
from hyperdex_tui.backend.cells import spot_at, tile_bytes
from hyperdex_tui.backend.memory import Group
from hyperdex_tui.backend.treemap import Part, Tiles, parts_of, whole
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import OpenInstructions, RowChosen, RowMoved
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.screens.bytes import BytesScreen
from hyperdex_tui.tabular import Tabular
from hyperdex_tui.widgets.painted import Line, Pane, line
from hyperdex_tui.widgets.treemap import Treemap


class TreemapScreen(AppScreen):
    """Boxes above, the one under the cursor in words below; Enter goes in, Esc comes out."""

    scope = "treemap"
    AUTO_FOCUS = "Treemap"
    BINDINGS: ClassVar[list[BindingType]] = bindings("treemap")

    def __init__(
        self, folder: Path, memory_map: MemoryMap, model_id: str, build: str, region: Region | None, by_layer: bool
    ) -> None:
        super().__init__(f"{model_id} › {build} › Treemap")
        self.model_id = model_id
        self.build = build
        self._folder = folder
        self._map = memory_map
        self._region = region
        self._by_layer = by_layer
        self._path = [whole(memory_map)]
        self._cursors: list[int] = []

    def compose_body(self) -> ComposeResult:
        """Boxes and detail."""
        yield Treemap()
        yield Pane(id="treemap-detail", classes="detail")

    @property
    def boxes(self) -> Treemap:
        """The boxes."""
        return self.query_one(Treemap)

    @property
    def table(self) -> Tabular | None:
        """The boxes, for copying and export."""
        return self.boxes

    def on_mount(self) -> None:
        """Show the device once the boxes know their size."""
        self.boxes.by_layer = self._by_layer
        self.call_after_refresh(self._first)

    def _first(self) -> None:
        parts = parts_of(self._map, self._path[-1], self.boxes.most(self._path[-1]))
        held = (index for index, part in enumerate(parts) if self._region is not None and _holds(part, self._region))
        self._show(next(held, 0))

    def _show(self, cursor: int = 0) -> None:
        parts = parts_of(self._map, self._path[-1], self.boxes.most(self._path[-1]))
        self.boxes.show(parts, cursor)
        names = " › ".join(part.title for part in self._path[1:])
        self.note(f"{names or 'device'}: {bytes_text(self._path[-1].bytes)}")

    def on_resize(self) -> None:
        """Other parts may be told apart at another size."""
        if self.boxes.current is not None:
            self.call_after_refresh(self._show, self.boxes.cursor)

    def on_row_moved(self, event: RowMoved) -> None:
        """Describe the box."""
        part = self.boxes.current
        self.query_one("#treemap-detail", Pane).show(self._detail(part) if part is not None else [])

    def on_row_chosen(self, event: RowChosen) -> None:
        """A double click."""
        self.action_descend()

    def action_descend(self) -> None:
        """Into the box; a single tile shows its bytes."""
        part = self.boxes.current
        if part is None:
            return
        if isinstance(part.holds, Tiles) and part.holds.last - part.holds.first == 1:
            self._bytes(part.holds)
            return
        self._cursors.append(self.boxes.cursor)
        self._path.append(part)
        parts = parts_of(self._map, part, self.boxes.most(part))
        if len(parts) == 1 and isinstance(parts[0].holds, Tiles):  # a region of one tile
            self.step_back()
            self._bytes(parts[0].holds)
        else:
            self._show()

    def _bytes(self, tiles: Tiles) -> None:
        region = tiles.region
        address = region.begin + tiles.first * tile_bytes(region, self._map.dtype)
        self.app.push_screen(BytesScreen(self._folder, self._map, region, self.model_id, self.build, address))

    def step_back(self) -> bool:
        """Out of the box; False at the device."""
        if not self._cursors:
            return False
        self._path.pop()
        self._show(self._cursors.pop())
        return True

    def action_left(self) -> None:
        """The box on the left."""
        self.boxes.step(-1, 0)

    def action_right(self) -> None:
        """The box on the right."""
        self.boxes.step(1, 0)

    def action_up(self) -> None:
        """The box above."""
        self.boxes.step(0, -1)

    def action_down(self) -> None:
        """The box below."""
        self.boxes.step(0, 1)

    def action_next_box(self) -> None:
        """The next box by address."""
        self.boxes.next_box(1)

    def action_previous_box(self) -> None:
        """The box before by address."""
        self.boxes.next_box(-1)

    def action_colour(self) -> None:
        """By kind or by layer."""
        self.boxes.colour(not self.boxes.by_layer)

    def action_instructions(self) -> None:
        """The instructions that use the region of the box."""
        region = _region_of(self.boxes.current)
        if region is None:
            self.say("several regions: Enter goes in, i on one of them shows its instructions")
        else:
            self.post_message(OpenInstructions(self.model_id, self.build, region=region.name))

    def _detail(self, part: Part) -> list[Line]:
        whole_bytes, region = self._path[-1].bytes, _region_of(part)
        head = line(
            (part.title, "strong"),
            f"  {bytes_text(part.bytes)} on each device, {percent_text(part.bytes, whole_bytes)} of this view",
        )
        if region is None:
            count = len(part.holds.regions) if isinstance(part.holds, Group) else 0
            return [head, line((f"{count} regions; Enter shows them" if count else "Enter shows the parts", "dim"))]
        where = line(("region ", "dim"), (region.name, "accent"), f"  {region.kind}, {region.rows:,} × {region.cols:,}")
        lines = [head, where]
        begin, end = region.begin, region.end
        if isinstance(part.holds, Tiles):
            size = tile_bytes(region, self._map.dtype)
            begin, end = region.begin + part.holds.first * size, min(region.begin + part.holds.last * size, region.end)
        lines.append(line(("bytes ", "dim"), f"[{begin:#x}, {end:#x}) of every channel"))
        source = spot_at(region, self._map.dtype, 0, 0, begin).source
        if source is not None:
            tensor = region.source.tensor or region.name
            lines.append(line(("device 0 from ", "dim"), f"{tensor}[{source[0]}, {source[1]}] on"))
        elif str(region.source):
            lines.append(line(("from ", "dim"), str(region.source)))
        return lines


def _region_of(part: Part | None) -> Region | None:
    """The region a part is or lies in."""
    if part is None:
        return None
    if isinstance(part.holds, Tiles):
        return part.holds.region
    return part.holds if isinstance(part.holds, Region) else None


def _holds(part: Part, region: Region) -> bool:
    """Whether a part of the device is or contains a region."""
    return part.holds is region or (isinstance(part.holds, Group) and region in part.holds.regions)
