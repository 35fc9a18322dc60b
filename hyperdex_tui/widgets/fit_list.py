"""Targets times device counts: bytes on each device, whether they fit, and how fast they would be."""

from __future__ import annotations

from compiler.quantity import bytes_text, percent_text
from hyperdex_tui.backend.fit import FitRow
from hyperdex_tui.formatting import pad, pad_left, wrap
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.painted import Line, line
from hyperdex_tui.widgets.row_list import RowList

_SIZES = ("weights", "padding", "KV cache", "total", "of")
_SIZE_CELLS = 9


class FitList(RowList):
    """One row per target and device count."""

    def __init__(self) -> None:
        super().__init__(id="fit-list")
        self._rows: tuple[FitRow, ...] = ()
        self.problem = ""

    def show(self, rows: tuple[FitRow, ...]) -> None:
        """Show rows; the cursor stays on its row."""
        grew = rows[: len(self._rows)] == self._rows
        self._rows = rows
        self.rows_changed(same_rows=grew)

    @property
    def current(self) -> FitRow | None:
        """The row under the cursor."""
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    def row_count(self) -> int:
        """Rows."""
        return len(self._rows)

    def columns(self) -> tuple[str, ...]:
        """Names of the columns; bytes are those of one device, times are estimated."""
        sizes = ("weight_bytes", "padding_bytes", "kv_bytes", "total_bytes", "capacity_bytes")
        return ("target", "num_devices", *sizes, "fits", "estimated_ms_per_token")

    def cells(self, index: int) -> tuple[Cell, ...]:
        """Values of a row."""
        row = self._rows[index]
        sizes = (row.weight_bytes, row.padding_bytes, row.cache_bytes, row.total_bytes, row.capacity_bytes)
        return (row.target, row.num_devices, *sizes, row.fits, row.ms_per_token)

    def heading(self, width: int) -> Line:
        """Column titles."""
        title = f"  {pad('target', 8)}{pad_left('N', 3)}" + "".join(pad_left(name, _SIZE_CELLS) for name in _SIZES)
        return line((pad(f"{title}  {pad('fits', 12)}{pad_left('ms/token', 8)}", width), "head"))

    def row(self, index: int, width: int) -> Line:
        """One target and count."""
        row = self._rows[index]
        sizes = (row.weight_bytes, row.padding_bytes, row.cache_bytes, row.total_bytes, row.capacity_bytes)
        verdict = ("✓ " if row.fits else "✗ no, ") + percent_text(row.total_bytes, row.capacity_bytes)
        speed = "" if row.ms_per_token is None else f"{row.ms_per_token:,.2f}"
        return line(
            (pad(row.target, 8), "text"),
            (pad_left(str(row.num_devices), 3), "strong"),
            ("".join(pad_left(bytes_text(size), _SIZE_CELLS) for size in sizes), "text"),
            (f"  {pad(verdict, 12)}", "good" if row.fits else "bad"),
            (pad_left(speed, 8), "strong"),
        )

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """Estimating, or why nothing can be said."""
        if self.problem:
            parts = wrap(f"✗ {self.problem}", max(20, width - 4), 4)
            return (*(line((f"  {part}", "bad")) for part in parts), line(("  Esc goes back; r asks again.", "dim")))
        return (line(("  Estimating: config.json alone is read, no weights …", "dim")),)
