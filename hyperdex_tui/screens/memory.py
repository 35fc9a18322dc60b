"""The memory map of a build: bar, layers and regions, detail, and the ways to bytes, channels and instructions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.errors import HyperDexError
from compiler.memory_map import MemoryMap, Region
from compiler.quantity import bytes_text
from hyperdex_tui.backend.memory import (
    SORTS,
    Group,
    Window,
    device_bytes,
    groups_of,
    open_memory_map,
    select,
    whole_window,
)
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import LineChanged, LineEntered, OpenGenerate, OpenInstructions, RowChosen, RowMoved
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.screens.bytes import BytesScreen
from hyperdex_tui.screens.channels import ChannelsScreen
from hyperdex_tui.screens.treemap import TreemapScreen
from hyperdex_tui.widgets.memory_bar import MemoryBar
from hyperdex_tui.widgets.painted import Line, Pane, Span, line
from hyperdex_tui.widgets.region_list import RegionList

_LAYOUTS = {
    "rows": "row r in channel r mod 32",
    "embed": "element e of a row in channel e mod 32",
    "host": "bursts of 64 bytes round the channels",
}


_USUAL_ROWS = 18
_SMALL_ROWS = 11


class MemoryScreen(AppScreen):
    """Bar on top, list in the middle, detail below."""

    scope = "memory"
    BINDINGS: ClassVar[list[BindingType]] = bindings("memory")

    def __init__(self, folder: Path, model_id: str, build: str, region: str = "", filter: str = "") -> None:
        super().__init__(f"{model_id} › {build} › Memory map")
        self.model_id = model_id
        self.build = build
        self._folder = folder
        self._region = region
        self.view_filter = filter
        self._sort = SORTS[0]
        self._is_grouped = False
        self._by_layer = False
        self._window = Window(0, 1)
        self._map: MemoryMap | None = None

    def compose_body(self) -> ComposeResult:
        """Bar, list, detail."""
        yield MemoryBar()
        yield RegionList()
        yield Pane(id="region-detail", classes="detail")

    def on_resize(self) -> None:
        """A small terminal has room for bar and list, a smaller one for the list alone."""
        self.query_one("#region-detail", Pane).display = self.size.height >= _USUAL_ROWS
        self.query_one(MemoryBar).display = self.size.height >= _SMALL_ROWS

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
        self._window = whole_window(self._map)
        self._show(self._region)

    def focus_on(self, region: str) -> None:
        """Put the cursor on a region, undoing a filter that hides it."""
        self._region = region
        if region and self._map and region not in {each.name for each in self._selected(self._map)}:
            self.view_filter, self._window = "", whole_window(self._map)
        self._show(region)

    def _show(self, name: str = "") -> None:
        if self._map is None:
            return
        regions = self._selected(self._map)
        listing = self.query_one(RegionList)
        if self._is_grouped:
            listing.show_groups(self._map, groups_of(regions, self._sort), name)
        else:
            listing.show(self._map, regions, name)
        some = len(regions) < len(self._map.regions)
        count = f"{len(regions):,} of {len(self._map.regions):,}" if some else f"{len(regions):,}"
        self.note(f"{count} regions by {'layer, ' if self._is_grouped else ''}{self._sort}")

    def _selected(self, memory_map: MemoryMap) -> tuple[Region, ...]:
        """The regions that the filter leaves and the bar shows."""
        regions = select(memory_map, self.view_filter, self._sort)
        return tuple(region for region in regions if self._window.holds(region))

    def on_row_moved(self, event: RowMoved) -> None:
        """Mark the region in the bar and show its details."""
        if self._map is None:
            return
        listing = self.query_one(RegionList)
        self.query_one(MemoryBar).show_map(self._map, listing.current, self._window, by_layer=self._by_layer)
        detail: list[Line] = []
        if listing.current is not None:
            detail = _detail(self._map, listing.current)
        elif listing.current_group is not None:
            detail = _group_detail(self._map, listing.current_group)
        self.query_one("#region-detail", Pane).show(detail)

    def on_row_chosen(self, event: RowChosen) -> None:
        """Enter."""
        self.action_descend()

    def action_descend(self) -> None:
        """Into the layer, or to the bytes of the region."""
        listing = self.query_one(RegionList)
        if listing.current_group is not None:
            listing.fold(listing.current_group)
            self._show()
        elif listing.current is not None and self._map is not None:
            self.app.push_screen(BytesScreen(self._folder, self._map, listing.current, self.model_id, self.build))

    def action_channels(self) -> None:
        """Use of every channel."""
        if self._map is not None:
            self.app.push_screen(ChannelsScreen(self._map, self.model_id, self.build))

    def action_treemap(self) -> None:
        """The device as boxes."""
        if self._map is not None:
            region, names = self.query_one(RegionList).current, (self.model_id, self.build)
            self.app.push_screen(TreemapScreen(self._folder, self._map, *names, region, self._by_layer))

    def action_colour(self) -> None:
        """Colours by kind or by layer."""
        self._by_layer = not self._by_layer
        self.query_one(RegionList).by_layer = self._by_layer
        self._show()

    def action_group(self) -> None:
        """By layer, or one by one."""
        self._is_grouped = not self._is_grouped
        self._show()

    def action_zoom_in(self) -> None:
        """Half as many bytes, around the region under the cursor."""
        self._zoom(0.5)

    def action_zoom_out(self) -> None:
        """Twice as many bytes, at last the whole channel."""
        self._zoom(2.0)

    def action_zoom_reset(self) -> None:
        """Everything that is used."""
        if self._map is not None:
            self._look_at(whole_window(self._map))

    def _zoom(self, factor: float) -> None:
        if self._map is None:
            return
        region = self.query_one(RegionList).current
        near = region if region is not None and self._window.holds(region) else None
        center = (near.begin + near.end) // 2 if near else (self._window.begin + self._window.end) // 2
        self._look_at(self._window.zoomed(factor, center, self._map.channel_bytes))

    def action_pan_left(self) -> None:
        """To lower addresses."""
        self._pan(-0.5)

    def action_pan_right(self) -> None:
        """To higher addresses."""
        self._pan(0.5)

    def _pan(self, share: float) -> None:
        if self._map is not None:
            self._look_at(self._window.moved(share, self._map.channel_bytes))

    def _look_at(self, window: Window) -> None:
        self._window = window
        self._show()

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
        index, count = listing.cursor, listing.row_count()
        if not count:
            return
        kind = listing.kind_at(index)
        while 0 <= index < count and listing.kind_at(index) == kind:
            index += step
        if 0 <= index < count:
            listing.move_to(index)

    def action_filter(self) -> None:
        """Type a filter."""
        self.open_prompt("filter", "filter ", self.view_filter, "words of name, kind or tensor")

    def on_line_changed(self, event: LineChanged) -> None:
        """Filter while typing."""
        self.view_filter = event.text
        self._show()

    def on_line_entered(self, event: LineEntered) -> None:
        """Keep the filter."""
        self.close_prompt()

    def step_back(self) -> bool:
        """Show all regions again."""
        if self.view_filter:
            self.view_filter = ""
        elif self._map is not None and self._window != whole_window(self._map):
            self._window = whole_window(self._map)
        else:
            return False
        self._show()
        return True


def _group_detail(memory_map: MemoryMap, group: Group) -> list[Line]:
    """How the bytes of a group divide by kind."""
    sizes: dict[str, int] = {}
    for region in group.regions:
        sizes[region.kind] = sizes.get(region.kind, 0) + device_bytes(memory_map, region)
    parts = ", ".join(f"{kind} {bytes_text(size)}" for kind, size in sorted(sizes.items(), key=lambda item: -item[1]))
    total = bytes_text(group.channel_bytes * memory_map.channels)
    return [
        line((group.title, "strong"), f"  {total} on each device", ("  Enter unfolds it", "dim")),
        line(("of these ", "dim"), parts),
    ]


def _detail(memory_map: MemoryMap, region: Region) -> list[Line]:
    head = line(
        (region.name, "strong"), (f"  {region.kind}", "text"), ("  Enter shows its bytes, i its instructions", "dim")
    )
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
