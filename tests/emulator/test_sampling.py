"""The sampler against transformers' definition of each step, and its distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compiler.emulator.sampling import Sampler, uniform

DEFAULT = {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": 1.0, "repetition_penalty": 1.0, "seed": 0}


def choose(logits, counts=None, step=0, **options):
    logits = np.asarray(logits, np.float32)
    counts = np.zeros(len(logits), np.uint16) if counts is None else np.asarray(counts, np.uint16)
    return Sampler(**(DEFAULT | options)).choose(logits, counts, step)


def drawn(logits, draws=2000, **options):
    return np.bincount([choose(logits, step=step, **options) for step in range(draws)], minlength=len(logits)) / draws


def test_greedy_takes_the_first_largest():
    assert choose([1, 5, 5, 2], do_sample=False) == 1


def test_greedy_survives_infinite_logits():
    assert choose([1, -np.inf, np.inf], do_sample=False) == 2


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits():
    assert choose([3, 2, -9], counts=[1, 0, 0], do_sample=False, repetition_penalty=2.0) == 1
    assert choose([-3, -5], counts=[4, 0], do_sample=False, repetition_penalty=2.0) == 1
    assert choose([3, 2], counts=[1, 1], do_sample=False, repetition_penalty=2.0) == 0


def test_frequencies_follow_the_softmax():
    logits = np.log([0.5, 0.25, 0.125, 0.125])
    # 2000 draws: standard deviation at most sqrt(0.25 / 2000) = 0.011
    np.testing.assert_allclose(drawn(logits), [0.5, 0.25, 0.125, 0.125], atol=0.04)
    np.testing.assert_allclose(drawn(logits, temperature=0.5), np.array([4, 1, 0.25, 0.25]) / 5.5, atol=0.04)


def test_top_k_keeps_the_k_largest_and_their_ties():
    assert set(np.flatnonzero(drawn([1, 3, 2, 2, 0], 300, top_k=2))) == {1, 2, 3}
    assert set(np.flatnonzero(drawn([1, 3, 2], 100, top_k=1))) == {1}
    assert set(np.flatnonzero(drawn([1, 1, 1], 100, top_k=9))) == {0, 1, 2}


@pytest.mark.parametrize("top_p, kept", [(0.4, {0}), (0.5, {0}), (0.51, {0, 1}), (0.9, {0, 1, 2, 3}), (1e-6, {0})])
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p, kept):
    assert set(np.flatnonzero(drawn(np.log([0.5, 0.25, 0.125, 0.125]), 400, top_p=top_p))) == kept


def test_masked_tokens_are_never_drawn():
    assert drawn([-np.inf, 0, -np.inf], 200)[1] == 1


@given(
    logits=hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(-50, 50, width=32)),
    top_k=st.integers(0, 60),
    top_p=st.floats(0.01, 1.0),
    seed=st.integers(0, (1 << 64) - 1),
    step=st.integers(0, 1 << 20),
)
def test_a_draw_depends_on_its_arguments_alone_and_is_in_the_vocabulary(logits, top_k, top_p, seed, step):
    options = {"top_k": top_k, "top_p": top_p, "seed": seed, "step": step}
    token = choose(logits, **options)
    assert 0 <= token < len(logits)
    assert token == choose(logits, **options)


def test_the_generator_is_splitmix64():
    # First outputs of the reference implementation for seed 1234567.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [uniform(1234567, step) for step in range(3)] == [(value >> 11) / 2**53 for value in expected]


def test_uniform_numbers_fill_the_unit_interval():
    values = np.array([uniform(5, step) for step in range(4000)])
    assert values.min() >= 0
    assert values.max() < 1
    # standard deviation of each of ten bins of 400 is 19
    assert np.abs(np.histogram(values, 10, (0, 1))[0] - 400).max() < 90
