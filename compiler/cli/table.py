"""Rows of cells as lines: columns lined up, and folded where a terminal is narrower than they are.

For a pipe every row is one line, whatever its length, so that `grep` and `awk` see whole rows.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence

_GAP = "  "
_LEAST = 20
"""Characters that the first and the last column keep on any terminal."""


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table_lines(rows: Sequence[Sequence[str]], width: int | None, right: Collection[int] = ()) -> list[str]:
    """The lines of a table.

    Args:
        rows: cells, the same number in each row; no cell has a line break.
        width: columns to fit into; None: as wide as it gets.
        right: columns whose cells stand at the right.

    Returns:
        One line per row; where they do not fit, a first cell that is too long stands alone above its row, and last
        cells are folded.
    """
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    if width is not None and len(widths) > 1:
        rest = sum(widths[1:]) + len(_GAP) * (len(widths) - 1)
        widths[0] = min(widths[0], max(_LEAST, width - rest))
    return [line for row in rows for line in _row(row, widths, width, right)]


def _row(row: Sequence[str], widths: Sequence[int], width: int | None, right: Collection[int]) -> list[str]:
    *cells, last = row
    lines = []
    if cells and len(cells[0]) > widths[0]:
        lines.append(cells[0])
        cells[0] = ""
    sized = list(zip(cells, widths[:-1], strict=True))
    placed = [cell.rjust(size) if at in right else cell.ljust(size) for at, (cell, size) in enumerate(sized)]
    head = "".join(cell + _GAP for cell in placed)
    if width is None or len(head) + len(last) <= width:
        return [*lines, (head + last).rstrip()]
    folded = textwrap.wrap(last, max(_LEAST, width - len(head)), break_on_hyphens=False) or [""]
    return [*lines, *(((head if at == 0 else " " * len(head)) + part).rstrip() for at, part in enumerate(folded))]
