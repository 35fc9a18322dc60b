"""The memory map of a build: bar, regions, detail, and the way to the instructions that use a region."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.errors import HyperDexError
from compiler.memory_map import MemoryMap, Region
from compiler.quantity import bytes_text
from hyperdex_tui.backend.memory import SORTS, device_bytes, open_memory_map, select
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import LineChanged, LineEntered, OpenGenerate, OpenInstructions, RowChosen, RowMoved
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.memory_bar import MemoryBar
from hyperdex_tui.widgets.painted import Line, Pane, Span, line
from hyperdex_tui.widgets.region_list import RegionList

_LAYOUTS = {
    "rows": "row r in channel r mod 32",
    "embed": "element e of a row in channel e mod 32",
    "host": "bursts of 64 bytes round the channels",
}


class MemoryScreen(AppScreen):
    """Bar on top, list in the middle, detail below."""

    scope = "memory"
    BINDINGS: ClassVar[list[BindingType]] = bindings("memory")

    def __init__(self, folder: Path, model_id: str, build: str, region: str = "") -> None:
        super().__init__(f"{model_id} › {build} › Memory map")
        self.model_id = model_id
        self.build = build
        self._folder = folder
        self._region = region
        self._filter = ""
        self._sort = SORTS[0]
        self._map: MemoryMap | None = None

    def compose_body(self) -> ComposeResult:
        """Bar, list, detail."""
        yield MemoryBar()
        yield RegionList()
        yield Pane(id="region-detail", classes="detail")

    def on_mount(self) -> None:
        """Read the map in a thread."""
        self.run_worker(self._open(), group="open")

    async def _open(self) -> None:
        try:
            self._map = await asyncio.to_thread(open_memory_map, self._folder)
        except HyperDexError as error:
            listing = self.query_one(RegionList)
            listing.problem = str(error)
            listing.rows_changed()
            return
        self._show(self._region)

    def focus_on(self, region: str) -> None:
        """Put the cursor on a region, undoing a filter that hides it."""
        self._region = region
        if region and region not in {each.name for each in self.query_one(RegionList).regions}:
            self._filter = ""
        self._show(region)

    def _show(self, name: str = "") -> None:
        if self._map is None:
            return
        regions = select(self._map, self._filter, self._sort)
        self.query_one(RegionList).show(self._map, regions, name)
        count = f"{len(regions):,} of {len(self._map.regions):,}" if self._filter else f"{len(regions):,}"
        self.note(f"{count} regions by {self._sort}")

    def on_row_moved(self, event: RowMoved) -> None:
        """Mark the region in the bar and show its details."""
        if self._map is None:
            return
        region = self.query_one(RegionList).current
        self.query_one(MemoryBar).show_map(self._map, region)
        self.query_one("#region-detail", Pane).show(_detail(self._map, region) if region is not None else [])

    def on_row_chosen(self, event: RowChosen) -> None:
        """Enter."""
        self.action_instructions()

    def action_instructions(self) -> None:
        """The instructions that use the region."""
        region = self.query_one(RegionList).current
        if region is not None:
            self.post_message(OpenInstructions(self.model_id, self.build, region=region.name))

    def action_prompt(self) -> None:
        """Generate tokens."""
        self.post_message(OpenGenerate(self.model_id, self.build))

    def action_sort(self) -> None:
        """Next order."""
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self._show()

    def action_next_kind(self) -> None:
        """To the next region of another kind."""
        self._to_kind(1)

    def action_previous_kind(self) -> None:
        """To the previous region of another kind."""
        self._to_kind(-1)

    def _to_kind(self, step: int) -> None:
        listing = self.query_one(RegionList)
        if listing.current is None:
            return
        kind, index = listing.current.kind, listing.cursor
        while 0 <= index < len(listing.regions) and listing.regions[index].kind == kind:
            index += step
        if 0 <= index < len(listing.regions):
            listing.move_to(index)

    def action_filter(self) -> None:
        """Type a filter."""
        self.open_prompt("filter", "filter ", self._filter, "words of name, kind or tensor")

    def on_line_changed(self, event: LineChanged) -> None:
        """Filter while typing."""
        self._filter = event.text
        self._show()

    def on_line_entered(self, event: LineEntered) -> None:
        """Keep the filter."""
        self.close_prompt()

    def step_back(self) -> bool:
        """Show all regions again."""
        if not self._filter:
            return False
        self._filter = ""
        self._show()
        return True


def _detail(memory_map: MemoryMap, region: Region) -> list[Line]:
    head = line((region.name, "strong"), (f"  {region.kind}", "text"), ("  Enter shows its instructions", "dim"))
    where = line(
        ("bytes ", "dim"),
        f"[{region.begin:#x}, {region.end:#x}) of every channel, ",
        (bytes_text(device_bytes(memory_map, region)), "strong"),
        " on each device",
    )
    shape: list[Span] = [("layout ", "dim"), (f"{region.layout}: {_LAYOUTS[region.layout]}", "text")]
    if region.heads > 1:
        shape.append((f", {region.heads} heads of {region.rows:,} × {region.cols:,}", "text"))
    if region.stride:
        shape.append((f", stride {region.stride:,}", "text"))
    lines = [head, where, tuple(shape)]
    if str(region.source):
        layer = f"  layer {region.source.layer}" if region.source.layer >= 0 else ""
        lines.append(line(("from ", "dim"), (str(region.source), "text"), (layer, "dim")))
    parts = [part for part in region.segments if part.device == 0]
    if parts:
        first = parts[0]
        more = f" and {len(parts) - 1} more parts" if len(parts) > 1 else ""
        lines.append(
            line(
                ("device 0 ", "dim"),
                f"rows {first.source_row:,}-{first.source_row + first.rows - 1:,}, "
                f"columns {first.source_col:,}-{first.source_col + first.cols - 1:,} of the tensor{more}",
            )
        )
    return lines
