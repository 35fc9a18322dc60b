"""What a view offers for copying and export: columns, rows of plain values, and the rows the user marked.

The values are those of the data, not their cut and coloured form on the
screen. Three notations, all written piece by piece.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from compiler.sanitize import printable

Cell = str | int | float | bool | None


class Tabular(Protocol):
    """A view with rows. Rows are asked for one at a time, on the event loop: long views stay lazy."""

    cursor: int
    """Row the cursor is on."""

    @property
    def table_name(self) -> str:
        """Words for the name of an exported file."""

    @property
    def marked(self) -> range:
        """Rows the user marked; empty when there are none."""

    def columns(self) -> tuple[str, ...]:
        """Names of the columns, as keys: lower case, units at the end (`size_bytes`)."""

    def row_count(self) -> int:
        """Rows."""

    def cells(self, index: int) -> tuple[Cell, ...]:
        """Values of a row, one per column."""


FORMATS = ("txt", "csv", "json")
"""Tab-separated text, CSV (RFC 4180) and a JSON array of objects; the names are the files' extensions."""


def cell_text(cell: Cell) -> str:
    """A value as one line of printable text; nothing for None."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return printable(cell) if isinstance(cell, str) else str(cell)


def row_text(cells: Sequence[Cell]) -> str:
    """A row as text, tabs between the values."""
    return "\t".join(cell_text(cell) for cell in cells).rstrip("\t")


def written(name: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """The pieces of a table in the format `name`, one of FORMATS; text and CSV begin with the column names."""
    if name == "json":
        yield from _json(columns, rows)
    elif name == "csv":
        yield _csv_row(columns)
        for cells in rows:
            yield _csv_row([cell_text(cell) for cell in cells])
    else:
        yield row_text(columns) + "\n"
        for cells in rows:
            yield row_text(cells) + "\n"


def _csv_row(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return line.getvalue()


def _json(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """One object per line; text as it is, since ASCII escapes make every character harmless."""
    before = "[\n"
    for cells in rows:
        yield before + json.dumps(dict(zip(columns, cells, strict=True)), allow_nan=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"
