"""The activation tables against the functions they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.graph.activations import (
    ACTIVATIONS,
    activation_function,
    activation_table,
    clip,
    clip_width,
    limits,
    softcap,
    swiglu,
)

UNIT = 2.0**-23
"""One unit in the last place of a float32 in [1, 2)."""


PARAMETRISED = (softcap(50.0, 0.0625), softcap(1.5, 0.29), softcap(30.0), clip(8.0), clip(0.375), clip(30.0))
PARTS = (clip(7.0, 1.0), swiglu(1.702, 7.0), swiglu(1.0, 0.25), "softplus", "log_sigmoid", "negative_exponential")


@pytest.mark.parametrize("name", (*ACTIVATIONS, *PARAMETRISED, *PARTS))
def test_a_table_is_within_one_float32_unit_of_its_function(name: str) -> None:
    table, function = activation_table(name), activation_function(name)
    assert not table.problem()
    chosen = np.random.default_rng(0)
    x = np.concatenate([chosen.uniform(-40, 40, 4000), chosen.normal(0, 1, 4000), [-1e30, 1e30, 0.0]]).astype(
        np.float32
    )
    exact = np.array([function(float(value)) for value in x])
    error = np.abs(table.evaluate(x) - exact)
    assert (error <= UNIT * np.maximum(1, np.abs(exact))).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_table_agrees_with_torch(name: str) -> None:
    import torch
    from transformers.activations import ACT2FN

    x = np.linspace(-12, 12, 5001).astype(np.float32)
    theirs = ACT2FN[name](torch.from_numpy(x)).numpy()
    # Both are within a few units of the exact function; gelu's tail cancels in float32 on their side.
    np.testing.assert_allclose(activation_table(name).evaluate(x), theirs, rtol=0, atol=4 * UNIT * 4)


def test_a_clip_is_a_line_and_two_constants() -> None:
    x = np.array([-1e9, -8.0, -7.99, -1e-3, 0.0, 0.125, 7.5, 8.0, 1e9], dtype=np.float32)
    found = activation_table(clip(8.0)).evaluate(x)
    np.testing.assert_allclose(found, np.clip(x, -8, 8), rtol=0, atol=2.0**-21)
    assert found[0] == found[1] == -8.0
    assert found[-1] == found[-2] == 8.0


def test_a_limit_of_too_many_bits_takes_two_tables_which_are_exact() -> None:
    assert clip_width(6.0) and clip_width(0.375) and clip_width(30.0)
    assert clip_width(0.3) == 0.0
    chosen = np.random.default_rng(0)
    x = np.concatenate([chosen.uniform(-40, 40, 4000), chosen.normal(0, 1, 4000), [-np.inf, np.inf, 0.0]])
    for limit in (0.3, 1.1, 17.3):
        found = x.astype(np.float32)
        for name in limits(limit):
            assert not activation_table(name).problem()
            found = activation_table(name).evaluate(found)
        np.testing.assert_array_equal(found, np.clip(x.astype(np.float32), -np.float32(limit), np.float32(limit)))


def test_a_cap_is_odd_and_never_exceeded() -> None:
    table = activation_table(softcap(50.0, 0.125))
    x = np.linspace(0, 1e4, 20001).astype(np.float32)
    assert (np.abs(table.evaluate(x)) <= 50.0 * (1 + 2.0**-22)).all()
    np.testing.assert_allclose(table.evaluate(-x), -table.evaluate(x), rtol=0, atol=50 * 2.0**-22)
