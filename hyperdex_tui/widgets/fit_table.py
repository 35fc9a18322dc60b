"""Bytes per device for several device counts, and whether they fit."""

from __future__ import annotations

from hyperdex_tui.backend.fit import FitPlan, FitRow
from hyperdex_tui.formatting import bytes_text, pad, pad_left, percent_text, wrap
from hyperdex_tui.widgets.painted import Line, Pane, line

_BAR_CELLS = 12
_COLUMNS = (("weights", 10), ("KV cache", 10), ("i/o", 10), ("total", 10), ("of", 10))


class FitTable(Pane):
    """A heading and one row per device count; the chosen count is marked."""

    def __init__(self) -> None:
        super().__init__(id="fit-table")

    def show_plan(self, plan: FitPlan | None, chosen: int) -> None:
        """Show a plan; None while it is being computed."""
        title = pad("Per device", 12) + "".join(pad_left(name, cells) for name, cells in _COLUMNS)
        lines: list[Line] = [line((title, "head"))]
        if plan is None:
            lines.append(line(("  computing …", "dim")))
        elif plan.note:
            text, role = (f"✗ {plan.note}", "bad") if plan.is_problem else (plan.note, "dim")
            lines += [line(("  " + part, role)) for part in wrap(text, max(20, self.size.width - 2), 5)]
        for row in plan.rows if plan is not None else ():
            lines.append(_row(row, row.num_devices == chosen))
        self.show(lines)


def _row(row: FitRow, chosen: bool) -> Line:
    mark = ("▶ " if chosen else "  ", "accent")
    name = pad(f"{row.num_devices} device" + ("s" if row.num_devices > 1 else ""), 10)
    if row.note:
        return line(mark, (name, "strong" if chosen else "text"), (" ✗ " + row.note, "bad"))
    sizes = (row.weight_bytes, row.cache_bytes, row.io_bytes, row.total_bytes, row.capacity_bytes)
    cells = "".join(pad_left(bytes_text(size), width) for size, (_, width) in zip(sizes, _COLUMNS, strict=True))
    verdict = (" ✓ fits " if row.fits else " ✗ too large ") + percent_text(row.total_bytes, row.capacity_bytes)
    return line(mark, (name + cells, "strong" if chosen else "text"), (verdict, "good" if row.fits else "bad"))
