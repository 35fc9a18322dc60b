"""The regions of a memory map."""

from __future__ import annotations

from compiler.memory_map import MemoryMap, Region
from compiler.quantity import bytes_text
from hyperdex_tui.backend.memory import LETTERS, device_bytes
from hyperdex_tui.formatting import cut_left, pad, pad_left
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.painted import Line, line
from hyperdex_tui.widgets.row_list import RowList


class RegionList(RowList):
    """Columns: kind, name, begin, size on one device, shape, tensor."""

    def __init__(self) -> None:
        super().__init__(id="regions")
        self._map: MemoryMap | None = None
        self._regions: tuple[Region, ...] = ()
        self.problem = ""

    def show(self, memory_map: MemoryMap, regions: tuple[Region, ...], name: str = "") -> None:
        """Show regions with the cursor on `name`, else on the region it was on."""
        wanted = name or (self.current.name if self.current is not None else "")
        self._map, self._regions = memory_map, regions
        found = [index for index, region in enumerate(regions) if region.name == wanted]
        self.rows_changed(found[0] if found else 0)

    @property
    def current(self) -> Region | None:
        """The region under the cursor."""
        return self._regions[self.cursor] if self.cursor < len(self._regions) else None

    @property
    def regions(self) -> tuple[Region, ...]:
        """What is shown, in order."""
        return self._regions

    def row_count(self) -> int:
        """Regions."""
        return len(self._regions)

    def columns(self) -> tuple[str, ...]:
        """Everything about a region but its segments."""
        return (
            "kind", "region", "begin", "end", "device_bytes", "rows", "cols",
            "stride", "heads", "layout", "layer", "source",
        )  # fmt: skip

    def cells(self, index: int) -> tuple[Cell, ...]:
        """One region; begin and end are bytes of every channel."""
        assert self._map is not None
        region = self._regions[index]
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
        """One region."""
        assert self._map is not None
        region = self._regions[index]
        name, tensor = self._names(width)
        shape = f"{region.rows:,} × {region.cols:,}" if region.layout != "host" else f"{region.cols:,} B"
        return line(
            (f" {LETTERS[region.kind]} ", f"kind-{region.kind}"),
            (f" {pad(region.kind, 10)}", "text"),
            (pad(cut_left(region.name, name), name), "strong"),
            (pad_left(f"{region.begin:#x}", 11), "dim"),
            (pad_left(bytes_text(device_bytes(self._map, region)), 10), "text"),
            (pad_left(shape, 14), "dim"),
            ("  " + cut_left(str(region.source), tensor) if tensor else "", "dim"),
        )

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """Opening, failed, or nothing matches."""
        if self.problem:
            return (
                line((f"  ✗ {self.problem}", "bad")),
                line(("  Esc goes back; c on the model compiles it again.", "dim")),
            )
        if self._map is None:
            return (line(("  Reading the memory map …", "dim")),)
        return (line(("  No region matches. Esc shows all.", "dim")),)
