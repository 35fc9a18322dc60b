"""The activation tables against the functions they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.graph.activations import ACTIVATIONS, activation_function, activation_table

UNIT = 2.0**-23
"""One unit in the last place of a float32 in [1, 2)."""


@pytest.mark.parametrize("name", ACTIVATIONS)
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
