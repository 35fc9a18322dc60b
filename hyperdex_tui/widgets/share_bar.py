"""The memory of one device as a bar: weights, caches, what is free, and what does not fit."""

from __future__ import annotations

from compiler.quantity import bytes_text, percent_text
from hyperdex_tui.backend.fit import FitRow
from hyperdex_tui.widgets.painted import Line, Pane, line, line_width


class ShareBar(Pane):
    """Two rows: the bar, and what its letters mean."""

    def __init__(self) -> None:
        super().__init__(id="share-bar")

    def show_row(self, row: FitRow | None) -> None:
        """Show one device of a row; nothing while its bytes are unknown."""
        width = max(20, self.size.width)
        self.show(share_lines(row, width) if row is not None and row.total_bytes and row.capacity_bytes else [])


def share_lines(row: FitRow, width: int) -> list[Line]:
    """The bar in `width` cells; without a split the whole is shown as weights."""
    scale = max(row.total_bytes, row.capacity_bytes)
    weights = row.weight_bytes or row.total_bytes
    rest = max(0, row.total_bytes - weights)
    first, second = _cells(weights, scale, width), _cells(rest, scale, width)
    first = min(first, width - second)
    border = row.capacity_bytes * width // scale
    free = max(0, width - first - second)
    over = row.total_bytes > row.capacity_bytes
    cells = "W" * first + "K" * second + "·" * free
    bar = line(
        (cells[:first], "kind-weight"),
        (cells[first : first + second], "kind-key"),
        (cells[first + second :], "kind-free"),
    )
    if over:  # what lies beyond the memory is marked, not only coloured
        kept = line((cells[: min(first, border)], "kind-weight"), (cells[first:border], "kind-key"))
        bar = (*kept, ("!" * (width - border), "bad"))
    total = f"each {bytes_text(row.total_bytes)} of {bytes_text(row.capacity_bytes)}"
    parts = line(
        (" W ", "kind-weight"),
        f" weights {bytes_text(weights)}  ",
        (" K ", "kind-key"),
        f" caches, host {bytes_text(rest)}  ",
    )
    share = f", {percent_text(row.total_bytes, row.capacity_bytes)}"  # a cut number would be another one
    total += share if line_width(parts) + len(total) + len(share) <= width else ""
    return [bar, (*parts, (total, "bad" if over else "strong"))]


def _cells(part: int, scale: int, width: int) -> int:
    """Cells of a part; one at least for anything that is there."""
    return max(1, part * width // scale) if part else 0
