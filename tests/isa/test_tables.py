"""What an activation table means."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.isa.tables import ActivationTable

CUBICS = np.arange(32, dtype=np.float32).reshape(8, 4) / 7
TABLE = ActivationTable(-1.0, 1.0, 0.5, -2.0, 3.0, 0.25, CUBICS)


def by_definition(table, x):
    one = np.float32
    if np.isnan(x):
        return x
    if x < table.begin:
        return one(x * one(table.left_slope)) + one(table.left_intercept)
    if x >= table.end:
        return one(x * one(table.right_slope)) + one(table.right_intercept)
    index = int((one(x) - one(table.begin)) / one(table.width))
    index = min(index, table.segments - 1)
    t = one(x) - (one(table.begin) + one(index) * one(table.width))
    c0, c1, c2, c3 = table.coefficients[index]
    return ((c3 * t + c2) * t + c1) * t + c0


def test_evaluation_is_the_definition_element_by_element():
    x = np.concatenate((np.random.default_rng(0).normal(0, 1, 500), np.linspace(-1, 1, 17), [np.nan]))
    x = np.append(x, np.nextafter(np.float32(1), np.float32(0))).astype(np.float32)
    with np.errstate(all="ignore"):
        expected = np.array([by_definition(TABLE, value) for value in x], np.float32)
    assert np.array_equal(TABLE.evaluate(x), expected, equal_nan=True)


def test_a_slope_of_zero_is_constant_even_at_infinity():
    table = ActivationTable(-1.0, 1.0, 0.0, -3.0, 2.0, 0.0, CUBICS)
    assert table.evaluate(np.array([-np.inf, np.inf], np.float32)).tolist() == [-3.0, np.inf]


def test_equal_tables_compare_equal():
    again = ActivationTable(-1.0, 1.0, 0.5, -2.0, 3.0, 0.25, CUBICS.copy())
    assert again == TABLE
    assert hash(again) == hash(TABLE)
    assert again != ActivationTable(-1.0, 1.0, 0.5, -2.0, 3.0, 0.5, CUBICS)


@pytest.mark.parametrize(
    "table, problem",
    [
        (ActivationTable(1.0, -1.0, 0, 0, 0, 0, CUBICS), "power of two"),
        (ActivationTable(0.0, 3.0, 0, 0, 0, 0, CUBICS), "power of two"),
        (ActivationTable(0.0, float("inf"), 0, 0, 0, 0, CUBICS), "not finite"),
        (ActivationTable(0.0, 1.0, 0.1, 0, 0, 0, CUBICS), "not a float32"),
        (ActivationTable(0.0, 1.0, 0, 0, 0, 0, CUBICS[:0]), "0 segments"),
        (ActivationTable(0.0, 1.0, 0, 0, 0, 0, CUBICS.astype(np.float64)), "float64"),
        (TABLE, ""),
    ],
)
def test_illegal_tables_say_why(table, problem):
    assert problem in table.problem()
    assert bool(problem) == bool(table.problem())
