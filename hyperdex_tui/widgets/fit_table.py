"""Bytes per device for several device counts, whether they fit, and how fast they would be."""

from __future__ import annotations

from compiler.quantity import bytes_text, percent_text
from hyperdex_tui.backend.fit import FitPlan, FitRow
from hyperdex_tui.formatting import pad, pad_left, wrap
from hyperdex_tui.widgets.painted import Line, Pane, line

_COLUMNS = (("weights", 10), ("KV cache", 10), ("total", 10), ("of", 10))
_SPEED_CELLS = 10
_VERDICT_CELLS = 16


class FitTable(Pane):
    """A heading and one row per device count; the chosen count is marked."""

    def __init__(self) -> None:
        super().__init__(id="fit-table")

    def show_plan(self, plan: FitPlan | None, chosen: int) -> None:
        """Show a plan; None while it is being computed."""
        title = pad("Per device", 12) + "".join(pad_left(name, cells) for name, cells in _COLUMNS)
        title += pad(" fits", _VERDICT_CELLS) + pad_left("ms/token", _SPEED_CELLS)
        lines: list[Line] = [line((title, "head"))]
        if plan is None:
            lines.append(line(("  computing …", "dim")))
        elif not plan.rows:
            text, role = (f"✗ {plan.note}", "bad") if plan.is_problem else (plan.note, "dim")
            lines += [line(("  " + part, role)) for part in wrap(text, max(20, self.size.width - 2), 5)]
        for row in plan.rows if plan is not None else ():
            lines.append(_row(row, row.num_devices == chosen))
        self.show(lines)


def _row(row: FitRow, chosen: bool) -> Line:
    mark = ("▶ ", "accent") if chosen else ("  ", "dim")
    name = pad(f"{row.num_devices} device" + ("s" if row.num_devices > 1 else ""), 10)
    role = "strong" if chosen else "text"
    if row.note:
        return line(mark, (name, role), (" ✗ " + row.note, "bad"))
    sizes = (row.weight_bytes, row.cache_bytes, row.total_bytes, row.capacity_bytes)
    shown = (bytes_text(size) if size else "-" for size in sizes)
    cells = "".join(pad_left(text, width) for text, (_, width) in zip(shown, _COLUMNS, strict=True))
    verdict = (" ✓ fits " if row.fits else " ✗ no, ") + percent_text(row.total_bytes, row.capacity_bytes)
    speed = "" if row.ms_per_token is None else f"{row.ms_per_token:,.2f}"
    return line(
        mark,
        (name + cells, role),
        (pad(verdict, _VERDICT_CELLS), "good" if row.fits else "bad"),
        (pad_left(speed, _SPEED_CELLS), role),
    )
