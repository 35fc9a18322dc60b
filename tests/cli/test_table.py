"""Laws of tables: nothing is lost, a pipe gets whole rows, a terminal no line wider than it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.cli.table import table_lines

CELL = st.text("abc-/ .", max_size=60).map(lambda text: " ".join(text.split()))
ROWS = st.integers(1, 4).flatmap(lambda count: st.lists(st.tuples(*[CELL] * count), min_size=1, max_size=5))


@given(ROWS)
def test_without_a_width_a_row_is_a_line(rows: list[tuple[str, ...]]) -> None:
    lines = table_lines(rows, None)
    assert len(lines) == len(rows)
    assert all(line.split() == " ".join(row).split() for line, row in zip(lines, rows, strict=True))


@given(ROWS, st.integers(20, 200))
def test_a_folded_table_loses_nothing(rows: list[tuple[str, ...]], width: int) -> None:
    folded = "".join("".join(line.split()) for line in table_lines(rows, width))
    assert folded == "".join("".join("".join(row).split()) for row in rows)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_long_names_and_reasons_fit_a_terminal(width: int) -> None:
    rows = [
        ("MODEL", "PHASES", "SIZE", "STATE"),
        ("organisation-of-some-length/" + "a-very-long-model-name-" * 3, "1 2", "12.3 GB", "ok"),
        ("  u55c-16x-float32", "3 4", "12.3 GB", "stale: " + "the checkpoint was converted again since " * 3),
    ]
    lines = table_lines(rows, width, right=(2,))
    assert max(len(line) for line in lines) <= max(width, len(rows[1][0]))
    begins = {line.index("STATE") for line in lines if "STATE" in line} | {
        line.index("stale") for line in lines if "stale" in line
    }
    assert len(begins) == 1


def test_what_fits_is_not_folded() -> None:
    rows = [("a", "bb", "ccc"), ("aaa", "b", "c c c")]
    assert table_lines(rows, 80) == table_lines(rows, None) == ["a    bb  ccc", "aaa  b   c c c"]
    assert table_lines([], 80) == []
