"""The regions of a memory map, one by one or under the layers they belong to."""

from __future__ import annotations

from compiler.memory_map import MemoryMap, Region
from compiler.quantity import bytes_text, counted, percent_text
from hyperdex_tui.backend.memory import Group, device_bytes, kind_key, layer_key, letter_of
from hyperdex_tui.formatting import cut_left, pad, pad_left
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.memory_bar import role_of
from hyperdex_tui.widgets.painted import COMPILE_AGAIN, Line, line, problem_lines
from hyperdex_tui.widgets.row_list import RowList


class RegionList(RowList):
    """Columns: kind, name, begin, size on one device, shape, tensor. Rows are regions, and groups when grouped."""

    def __init__(self) -> None:
        super().__init__(id="regions")
        self._map: MemoryMap | None = None
        self._rows: tuple[Region | Group, ...] = ()
        self._unfolded: set[str] = set()
        self.problem = ""
        self.by_layer = False

    def show(self, memory_map: MemoryMap, regions: tuple[Region, ...], name: str = "") -> None:
        """Show regions with the cursor on `name`, else on the row it was on."""
        self._map = memory_map
        self._set(tuple(regions), name)

    def show_groups(self, memory_map: MemoryMap, groups: tuple[Group, ...], name: str = "") -> None:
        """Show groups, each with its regions below it when it is unfolded; that of region `name` is."""
        self._map = memory_map
        rows: list[Region | Group] = []
        for group in groups:
            rows.append(group)
            if name and any(region.name == name for region in group.regions):
                self._unfolded.add(group.title)
            if group.title in self._unfolded:
                rows += group.regions
        self._set(tuple(rows), name)

    def _set(self, rows: tuple[Region | Group, ...], name: str) -> None:
        wanted = name or self._row_name(self._rows[self.cursor] if self.cursor < len(self._rows) else None)
        self._rows = rows
        found = [index for index, row in enumerate(rows) if self._row_name(row) == wanted]
        self.rows_changed(found[0] if found else 0)

    @staticmethod
    def _row_name(row: Region | Group | None) -> str:
        return "" if row is None else row.name if isinstance(row, Region) else f"group {row.title}"

    def fold(self, group: Group) -> None:
        """Fold or unfold a group; takes effect with the next `show_groups`."""
        self._unfolded ^= {group.title}

    @property
    def current(self) -> Region | None:
        """The region under the cursor."""
        row = self._rows[self.cursor] if self.cursor < len(self._rows) else None
        return row if isinstance(row, Region) else None

    @property
    def current_group(self) -> Group | None:
        """The group under the cursor."""
        row = self._rows[self.cursor] if self.cursor < len(self._rows) else None
        return row if isinstance(row, Group) else None

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions shown, in order."""
        return tuple(row for row in self._rows if isinstance(row, Region))

    def kind_at(self, index: int) -> str:
        """What `[` and `]` step over: a region's kind, a group's title."""
        row = self._rows[index]
        return row.kind if isinstance(row, Region) else row.title

    def row_count(self) -> int:
        """Regions and groups."""
        return len(self._rows)

    def columns(self) -> tuple[str, ...]:
        """Everything about a region but its segments."""
        return (
            "kind", "region", "begin", "end", "device_bytes", "rows", "cols",
            "stride", "heads", "layout", "layer", "source",
        )  # fmt: skip

    def cells(self, index: int) -> tuple[Cell, ...]:
        """One region; begin and end are bytes of every channel."""
        assert self._map is not None
        region = self._rows[index]
        if isinstance(region, Group):
            size = region.channel_bytes * self._map.channels
            return ("group", region.title, None, None, size, *(None,) * 5, region.layer, None)
        return (
            region.kind, region.name, region.begin, region.end, device_bytes(self._map, region), region.rows,
            region.cols, region.stride, region.heads, region.layout, region.source.layer, str(region.source),
        )  # fmt: skip

    def _names(self, width: int) -> tuple[int, int]:
        """Cells of name and tensor."""
        rest = width - 14 - 11 - 10 - 14
        name = min(48, rest // 2) if rest >= 64 else max(10, rest)
        return name, max(0, rest - name - 2)

    def heading(self, width: int) -> Line:
        """Column titles."""
        name, tensor = self._names(width - 2)
        title = f"  {pad('kind', 14)}{pad('region', name)}{pad_left('begin', 11)}{pad_left('size', 10)}"
        title += pad_left("rows × cols", 14) + (f"  {pad('tensor', tensor)}" if tensor else "")
        return line((pad(title, width), "head"))

    def row(self, index: int, width: int) -> Line:
        """One region or group."""
        assert self._map is not None
        region = self._rows[index]
        if isinstance(region, Group):
            return self._group_row(self._map, region)
        name, tensor = self._names(width)
        key = (layer_key if self.by_layer else kind_key)(region)
        shape = f"{region.rows:,} × {region.cols:,}" if region.layout != "host" else f"{region.cols:,} B"
        return line(
            (f" {letter_of(key)} ", role_of(key)),
            (f" {pad(region.kind, 10)}", "text"),
            (pad(cut_left(region.name, name), name), "strong"),
            (pad_left(f"{region.begin:#x}", 11), "dim"),
            (pad_left(bytes_text(device_bytes(self._map, region)), 10), "text"),
            (pad_left(shape, 14), "dim"),
            ("  " + cut_left(str(region.source), tensor) if tensor else "", "dim"),
        )

    def _group_row(self, memory_map: MemoryMap, group: Group) -> Line:
        mark = "▾" if group.title in self._unfolded else "▸"
        size = group.channel_bytes
        return line(
            (f"{mark} {pad(group.title, 24)}", "accent"),
            (pad_left(bytes_text(size * memory_map.channels), 10), "text"),
            (pad_left(percent_text(size, memory_map.end), 9), "dim"),
            (f"  {counted(len(group.regions), 'region')}", "dim"),
        )

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """Opening, failed, or nothing matches."""
        if self.problem:
            return problem_lines(self.problem, width, COMPILE_AGAIN)
        if self._map is None:
            return (line(("  Reading the memory map …", "dim")),)
        return (line(("  No region matches. Esc shows all.", "dim")),)
