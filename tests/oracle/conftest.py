"""At the end of a run: which architecture was held to transformers, on how many devices, in which dtype."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.oracle.checkpoints import HELD

_DTYPES = ("float32", "float16", "bfloat16")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A row per architecture; a cell counts the tests that passed, and names how many did not."""
    cells: dict[tuple[str, str, int], list[bool]] = defaultdict(list)
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == HELD and report.when == "call":
                    architecture, dtype, counts = value
                    for count in counts:
                        cells[architecture, dtype, count].append(outcome == "passed")
    if not cells:
        return
    columns = sorted({key[1:] for key in cells}, key=lambda column: (_DTYPES.index(column[0]), column[1]))
    rows = sorted({key[0] for key in cells}, key=str.lower)
    width = max(map(len, rows))
    terminalreporter.write_sep("=", HELD)
    terminalreporter.write_line(
        "float32: the same greedy tokens; 16 bits: each within rounding of the best. Tests passed, by dtype x devices."
    )
    heads = [f"{dtype} x{count}" for dtype, count in columns]
    terminalreporter.write_line(" " * width + "".join(f"  {head:>11}" for head in heads))
    for row in rows:
        line = "".join(f"  {_cell(cells.get((row, *column), [])):>11}" for column in columns)
        terminalreporter.write_line(f"{row:<{width}}{line}")


def _cell(outcomes: list[bool]) -> str:
    if not outcomes:
        return "-"
    return f"{sum(outcomes)}" if all(outcomes) else f"{outcomes.count(False)} FAILED"
