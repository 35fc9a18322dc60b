"""Laws of the numbers and cells on screen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from hyperdex_tui.formatting import cut, cut_left, pad, pad_left, seconds_text, wrap

WIDE = st.text(alphabet=st.sampled_from("ab c.日本…é"), max_size=40)
WIDTHS = st.integers(0, 50)


@given(WIDE, WIDTHS)
def test_cut_text_never_exceeds_its_width(text: str, width: int) -> None:
    assert cell_len(cut(text, width)) <= width
    assert cell_len(cut_left(text, width)) <= width


@given(WIDE, WIDTHS)
def test_padded_text_has_exactly_its_width(text: str, width: int) -> None:
    assert cell_len(pad(text, width)) == width
    assert cell_len(pad_left(text, width)) == width


@given(WIDE, st.integers(2, 50))
def test_text_that_fits_is_not_changed(text: str, width: int) -> None:
    if cell_len(text) <= width:
        assert cut(text, width) == text == cut_left(text, width)


@given(WIDE, st.integers(4, 30), st.integers(1, 5))
def test_wrapped_lines_fit(text: str, width: int, limit: int) -> None:
    lines = wrap(text, width, limit)
    assert len(lines) <= limit
    assert all(cell_len(line) <= width for line in lines)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.31, "0.3 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1:00"), (3725, "1:02:05")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert seconds_text(seconds) == shown
