"""Numbers in messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.quantity import bytes_text, change_text, counted, parameters_text, percent_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1_250_000, "1.2 MB"),
        (17_179_869_184, "17.2 GB"),
        (10**18, "1000.0 PB"),
    ],
)
def test_bytes_are_shown_in_the_unit_that_suits_them(count: int, text: str) -> None:
    assert bytes_text(count) == text


def test_one_is_singular() -> None:
    assert [counted(count, "tensor") for count in range(3)] == ["0 tensors", "1 tensor", "2 tensors"]


@given(st.integers(0, 1 << 60))
def test_bytes_fit_nine_cells(count: int) -> None:
    assert len(bytes_text(count)) <= 9


@pytest.mark.parametrize(
    ("count", "text"), [(0, "-"), (999, "999"), (836_736, "837 K"), (125_239_296, "125 M"), (1_315_758_080, "1.32 B")]
)
def test_parameters_are_told_as_models_are_known(count: int, text: str) -> None:
    assert parameters_text(count) == text


@pytest.mark.parametrize(("part", "shown"), [(0, "0.0 %"), (1, "<0.1 %"), (9_999, ">99.9 %"), (10_000, "100 %")])
def test_percent_reaches_its_ends_only_at_the_ends(part: int, shown: str) -> None:
    assert percent_text(part, 10_000) == shown


@pytest.mark.parametrize(("after", "shown"), [(4.0, "0 %"), (4.1, "+2.5 %"), (3.0, "-25 %"), (8.0, "+100 %")])
def test_changes_have_a_sign(after: float, shown: str) -> None:
    assert change_text(4.0, after) == shown
