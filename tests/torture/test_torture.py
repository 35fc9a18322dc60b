"""A small share of every kind of fault keeps its promise; `make torture` injects all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from torture.__main__ import FAULTS, torture
from torture.report import Effort, Row, format_table

SHARES = {
    "kill-points": 0.08,
    "kill-times": 0.1,
    "signals": 0.05,
    "failed-writes": 0.05,
    "power-loss": 0.04,
    "bit-flips": 0.01,
    "hostile": 0.02,
    "concurrent": 0.1,
    "downloads": 0.05,
    "programs": 0.004,
}
"""Part of the full number, such that all of them take a few seconds together."""


@pytest.mark.parametrize("name", list(FAULTS))
def test_no_fault_breaks_a_promise(name: str, tmp_path: Path) -> None:
    rows = torture([name], Effort(SHARES[name]), tmp_path)
    assert rows and all(row.injected for row in rows)
    assert [violation for row in rows for violation in row.violations] == []


def test_a_broken_promise_is_in_the_table() -> None:
    row = Row("a fault", "a promise")
    row.count("fine")
    row.count("lost", "a fault, operation 7: lost")
    assert "| a fault | 2 | 1 fine, 1 lost | 1 | 0 s |" in format_table([row])


def test_points_are_spread_and_hold_both_ends() -> None:
    assert Effort(1.0).chosen(10, 100) == list(range(1, 11))
    assert Effort(0.1).chosen(1000, 50) == [1, 251, 501, 750, 1000]
    assert Effort(0.001).chosen(7, 100) == [7]
