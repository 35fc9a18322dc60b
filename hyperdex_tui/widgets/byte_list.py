"""Bytes of a region in one channel of one device, row by row, with the element under the cursor."""

from __future__ import annotations

from compiler.errors import ArtifactError
from compiler.memory_map import MemoryMap, Region
from hyperdex_tui.backend.cells import ChannelBytes, Spot, element_bytes, spot_at, value_text
from hyperdex_tui.formatting import pad, pad_left
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.painted import Line, Span, line
from hyperdex_tui.widgets.row_list import RowList

ROW_BYTES = 16
_VALUE_CELLS = 13
"""A gap and the longest a 16-bit element comes to: -0.000929356; a float32 may have an exponent instead."""


class ByteList(RowList):
    """Columns: address, elements in hex, values where there is room, coordinates of the row's first element."""

    def __init__(self, memory_map: MemoryMap, region: Region, source: ChannelBytes) -> None:
        super().__init__(id="bytes")
        self._map = memory_map
        self._source = source
        self.held = region
        self.device = 0
        self.channel = 0
        self.column = 0
        self.size_bytes = element_bytes(region, memory_map.dtype)

    @property
    def per_row(self) -> int:
        """Elements of a row."""
        return ROW_BYTES // self.size_bytes

    @property
    def spot(self) -> Spot:
        """The element under the cursor."""
        return self.spot_of(self.cursor, self.column)

    @property
    def raw(self) -> bytes | None:
        """The bytes of the element under the cursor; None where no file holds them."""
        return self._read(self.spot.address, self.size_bytes)

    def spot_of(self, row: int, column: int) -> Spot:
        """An element in sight."""
        address = self.held.begin + row * ROW_BYTES + column * self.size_bytes
        return spot_at(self.held, self._map.dtype, self.device, self.channel, address)

    def go(self, device: int, channel: int, address: int) -> None:
        """Put the cursor on a byte."""
        self.device, self.channel = device, channel
        row, inside = divmod(address - self.held.begin, ROW_BYTES)
        self.column = inside // self.size_bytes
        self.rows_changed(row)

    def step(self, columns: int) -> None:
        """Move by elements, over the ends of rows."""
        at = max(0, min(self.cursor * self.per_row + self.column + columns, self.row_count() * self.per_row - 1))
        self.column = at % self.per_row
        self.rows_changed(at // self.per_row, same_rows=True)

    def row_count(self) -> int:
        """Rows of sixteen bytes."""
        return (self.held.end - self.held.begin) // ROW_BYTES

    def columns(self) -> tuple[str, ...]:
        """For copying and export."""
        return ("device", "channel", "address", "hex", "values", "head", "row", "col")

    def cells(self, index: int) -> tuple[Cell, ...]:
        """One row of bytes."""
        spot = self.spot_of(index, 0)
        raw = self._read(spot.address, ROW_BYTES)
        values = " ".join(self._values(raw)) if raw is not None else None
        where = spot.element or (None, None, None)
        return (self.device, self.channel, spot.address, raw.hex() if raw is not None else None, values, *where)

    def _read(self, address: int, count: int) -> bytes | None:
        try:
            return self._source.read(self.device, self.channel, address, count)
        except ArtifactError:
            return None  # the screen says so, once

    def _values(self, raw: bytes) -> list[str]:
        if self.held.layout == "host":
            return [str(int.from_bytes(raw[at : at + 4], "little")) for at in range(0, len(raw), 4)]
        size = self.size_bytes
        return [value_text(raw[at : at + size], self._map.dtype) for at in range(0, len(raw), size)]

    def _value_columns(self, width: int) -> int:
        """Values that fit beside the hex."""
        return self.per_row if width >= 12 + self._hex_cells() + 26 + self.per_row * _VALUE_CELLS else 0

    def _hex_cells(self) -> int:
        return self.per_row * (2 * self.size_bytes + 1)

    def heading(self, width: int) -> Line:
        """Column titles."""
        values = self._value_columns(width - 2) * _VALUE_CELLS
        title = f"  {pad('address', 12)}{pad('elements in hex', self._hex_cells() + 1)}"
        title += (pad("values", values) if values else "") + "first element"
        return line((pad(title, width), "head"))

    def row(self, index: int, width: int) -> Line:
        """Sixteen bytes."""
        spot = self.spot_of(index, 0)
        raw = self._read(spot.address, ROW_BYTES)
        spans: list[Span] = [(pad(f"{spot.address:#x}", 12), "dim")]
        chosen = self.column if index == self.cursor else -1
        for column in range(self.per_row + 1):
            fence = "[" if column == chosen else "]" if column == chosen + 1 and chosen >= 0 else " "
            at = column * self.size_bytes
            piece = raw[at : at + self.size_bytes][::-1].hex() if raw is not None else "·" * (2 * self.size_bytes)
            spans.append((fence + piece if column < self.per_row else fence, "strong" if column == chosen else "text"))
        if self._value_columns(width):
            values = self._values(raw) if raw is not None else ["-"] * self.per_row
            spans.append(("".join(pad_left(value, _VALUE_CELLS) for value in values) + "  ", "text"))
        spans.append((_coordinates(spot), "dim"))
        return spans


def _coordinates(spot: Spot) -> str:
    """Where an element lies in its tensor, or in its region."""
    if spot.source is not None:
        return f"[{spot.source[0]}, {spot.source[1]}]"
    if spot.element is None:
        return "padding"
    head = f"head {spot.element.head} " if spot.element.head else ""
    return f"{head}({spot.element.row}, {spot.element.col})"
