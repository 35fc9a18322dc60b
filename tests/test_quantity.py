"""Numbers in messages."""

from __future__ import annotations

import pytest

from compiler.quantity import bytes_text, counted


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1_250_000, "1.2 MB"),
        (17_179_869_184, "17.2 GB"),
        (10**18, "1000000000.0 GB"),
    ],
)
def test_bytes_are_shown_in_the_unit_that_suits_them(count: int, text: str) -> None:
    assert bytes_text(count) == text


def test_one_is_singular() -> None:
    assert [counted(count, "tensor") for count in range(3)] == ["0 tensors", "1 tensor", "2 tensors"]
