"""What the operands mean that only some families need: heads, linear biases, windows, experts."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.dtypes import BFLOAT16, FLOAT32
from compiler.errors import MachineFault
from compiler.rounding import round_to

N = 24
X = np.random.default_rng(5).standard_normal(N).astype(np.float32)


@pytest.fixture
def exact(new_bench):
    """A bench of one float32 device."""
    return new_bench(FLOAT32)


def _lmu(machine, at, count):
    return machine.lmu(0)[0][at : at + count]


def _rms(x, of=None):
    of = x if of is None else of
    return x / np.sqrt((of.astype(np.float64) ** 2).mean() + 1e-6)


def test_heads_are_normalised_each_by_itself(exact):
    machine = exact.run(f"rmsnorm v[100], v[0], {N}, 1e-6, heads=4", v0=X)
    expected = np.concatenate([_rms(part) for part in X.reshape(4, -1)])
    np.testing.assert_allclose(_lmu(machine, 100, N), expected, rtol=1e-5)


def test_another_vector_may_say_how_large_the_mean_square_is(exact):
    machine = exact.run("rmsnorm v[100], v[0], 6, 1e-6, of=v[0], of_length=24", v0=X)
    np.testing.assert_allclose(_lmu(machine, 100, 6), _rms(X[:6], X), rtol=1e-5)


def test_the_offset_is_added_to_every_weight(exact):
    weight = exact.matrix("w", X.reshape(N, 1), "norm")
    stream = f"rd.param s1, h[{weight.begin:#x}], {N}, 1, 1\n"
    machine = exact.run(f"{stream}rmsnorm v[100], v[0], {N}, 1e-6, weight=s1, offset=1.0", v0=X)
    np.testing.assert_allclose(_lmu(machine, 100, N), _rms(X) * (1 + X.astype(np.float64)), rtol=1e-5)


@pytest.mark.parametrize("coarse", [0, 1])
def test_a_slope_biases_scores_by_their_token(exact, coarse):
    slope = np.float32(0.7)
    bias = slope * np.arange(N, dtype=np.float32)
    bias = round_to(bias, BFLOAT16) * np.float32(0.5) if coarse else bias
    tail = f"extra=v[50], extras=1, coarse={coarse}"
    machine = exact.run(f"softmax v[100], v[0], {N}, 0.5, {tail}", v0=X, v50=[slope])
    powers = np.exp(X.astype(np.float64) * 0.5 + bias)
    np.testing.assert_allclose(_lmu(machine, 100, N), powers / powers.sum(), rtol=1e-5)


@pytest.mark.parametrize("score", [-20.0, 0.5, 90.0])
def test_a_sink_takes_its_share_and_belongs_to_no_token(exact, score):
    machine = exact.run(f"softmax v[100], v[0], {N}, 0.5, extra=v[50], extras=1, sink=1", v0=X, v50=[score])
    powers = np.exp(np.append(X.astype(np.float64) * 0.5, score) - score)
    np.testing.assert_allclose(_lmu(machine, 100, N), (powers / powers.sum())[:-1], rtol=1e-5)


@pytest.mark.parametrize("first", [-3, 0, 1, N - 1])
def test_tokens_before_the_window_get_nothing(exact, first):
    machine = exact.run(f"li r9, {first}\nsoftmax v[100], v[0], {N}, 1.0, first_reg=r9", v0=X)
    powers = np.exp(X.astype(np.float64)) * (np.arange(N) >= first)
    np.testing.assert_allclose(_lmu(machine, 100, N), powers / powers.sum(), rtol=1e-5)


def test_a_window_without_tokens_is_a_fault(exact):
    with pytest.raises(MachineFault, match="first that counts"):
        exact.run(f"li r9, {N}\nsoftmax v[100], v[0], {N}, 1.0, first_reg=r9", v0=X)


def test_rank_takes_the_element_of_another_vector(exact):
    y = X[::-1].copy()
    machine = exact.run(f"rank r8, v[200], v[0], {N}, 2, 1, of=v[100], taken=1", v0=X, v100=y)
    place = int(np.argsort(-X, kind="stable")[2])
    assert machine.registers[8] == place
    assert _lmu(machine, 200, 1)[0] == y[place]


def test_rank_finds_each_place_and_the_first_of_equals(exact):
    x = X.copy()
    x[[3, 7, 20]] = 9.0
    lines = [f"rank r{8 + place}, v[{100 + place}], v[0], {N}, {place}, 1" for place in range(6)]
    machine = exact.run("\n".join(lines), v0=x)
    order = np.argsort(-x, kind="stable")[:6]
    assert machine.registers[8:14] == tuple(order.tolist())
    assert machine.registers[8:11] == (3, 7, 20)
    assert np.array_equal(_lmu(machine, 100, 6), x[order])


def test_a_register_chooses_the_expert(exact):
    matrices = np.random.default_rng(1).standard_normal((3, 40, 16)).astype(np.float32)
    regions = [exact.matrix(f"expert {number}", matrix) for number, matrix in enumerate(matrices)]
    step = regions[1].begin - regions[0].begin
    stream = f"rd.param s1, h[{regions[0].begin:#x}], 40, 16, 16, index=r8, step=h[{step:#x}]"
    machine = exact.run(f"li r8, 2\n{stream}\nmm v[100], v[0], s1, 40, 16", v0=X[:16])
    np.testing.assert_allclose(_lmu(machine, 100, 40), matrices[2] @ X[:16], rtol=1e-4, atol=1e-5)


def test_an_expert_that_does_not_exist_is_a_fault(exact):
    region = exact.matrix("expert 0", np.ones((40, 16), np.float32))
    stream = f"rd.param s1, h[{region.begin:#x}], 40, 16, 16, index=r8, step=h[0x10000]"
    with pytest.raises(MachineFault, match="in no region"):
        exact.run(f"li r8, 1\n{stream}\nmm v[100], v[0], s1, 40, 16", v0=X[:16])


def test_a_factor_in_the_lmu_scales_too(exact):
    machine = exact.run(f"vscale v[100], v[0], {N}, 2.0, by=v[50], factors=1", v0=X, v50=[0.25])
    assert np.array_equal(_lmu(machine, 100, N), X * np.float32(2.0) * np.float32(0.25))
