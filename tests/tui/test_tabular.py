"""Laws of exported tables: what a reader of the format gets back."""

from __future__ import annotations

import csv
import io
import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from hyperdex_tui.tabular import Cell, cell_text, row_text, written

COLUMNS = ("name", "size_bytes", "part", "known")
ROWS = st.lists(
    st.tuples(
        st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.one_of(st.none(), st.booleans())
    )
)


@given(ROWS)
def test_json_gives_the_values_back(rows: list[tuple[Cell, ...]]) -> None:
    text = "".join(written("json", COLUMNS, rows))
    assert text.isascii()
    assert json.loads(text) == [dict(zip(COLUMNS, cells, strict=True)) for cells in rows]


@given(ROWS)
def test_csv_gives_the_printable_texts_back(rows: list[tuple[Cell, ...]]) -> None:
    text = "".join(written("csv", COLUMNS, rows))
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read == [list(COLUMNS), *([cell_text(cell) for cell in cells] for cells in rows)]


@given(ROWS)
def test_text_has_one_printable_line_per_row(rows: list[tuple[Cell, ...]]) -> None:
    text = "".join(written("txt", COLUMNS, rows))
    lines = text.split("\n")
    assert len(lines) == len(rows) + 2 and not lines[-1]
    assert not any(unicodedata.category(char).startswith("C") for line in lines for char in line.replace("\t", ""))


def test_cells_read_as_a_person_expects() -> None:
    assert row_text(("x\ty", None, 3, 0.5, True, None)) == "x\\ty\t\t3\t0.5\ttrue"
