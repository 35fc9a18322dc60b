"""Laws of rounding, with torch as the second opinion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.dtypes import BFLOAT16, BUILD_DTYPES, FLOAT16, FLOAT32, FLOAT64, DType
from compiler.rounding import Stored, cast, from_float32, overflows, round_to, storage, to_float32

TORCH = {FLOAT16: torch.float16, BFLOAT16: torch.bfloat16, FLOAT32: torch.float32, FLOAT64: torch.float64}

PAIRS = [(a, b) for a in (*BUILD_DTYPES, FLOAT64) for b in BUILD_DTYPES if not (a == FLOAT64 and b != FLOAT32)]
"""A float64 checkpoint is stored as float32 before anything else, so that only this narrowing of it exists."""


def torch_values(tensor: torch.Tensor) -> np.ndarray:
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def torch_tensor(array: Stored, dtype: DType) -> torch.Tensor:
    tensor = torch.from_numpy(array.copy())
    return tensor.view(torch.bfloat16) if dtype == BFLOAT16 else tensor


def assert_same(ours: Stored, theirs: Stored, dtype: DType) -> None:
    """Equal bit for bit, except that any NaN equals any NaN."""
    nan = np.isnan(to_float32(ours, dtype))
    assert (nan == np.isnan(to_float32(theirs, dtype))).all()
    bits = f"<u{dtype.itemsize}"
    assert (ours.view(bits)[~nan] == theirs.view(bits)[~nan]).all()


@pytest.mark.parametrize(("from_dtype", "to_dtype"), PAIRS, ids=str)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_cast_is_what_torch_does(from_dtype: DType, to_dtype: DType, data: st.DataObject) -> None:
    top = (1 << 8 * from_dtype.itemsize) - 1
    bits = data.draw(st.lists(st.integers(0, top), min_size=1, max_size=50))
    array = np.array(bits, f"<u{from_dtype.itemsize}").view(storage(from_dtype))
    expected = torch_values(torch_tensor(array, from_dtype).to(TORCH[to_dtype]))
    assert_same(cast(array, from_dtype, to_dtype), expected, to_dtype)


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16], ids=str)
def test_every_stored_value_survives_the_way_through_float32(dtype: DType) -> None:
    array = np.arange(1 << 16, dtype="<u2").view(storage(dtype))
    assert_same(from_float32(to_float32(array, dtype), dtype), array, dtype)


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16], ids=str)
def test_values_between_two_neighbours_round_to_nearest_even(dtype: DType) -> None:
    neighbours = to_float32(np.arange(0, 0x7B00, dtype="<u2").view(storage(dtype)), dtype)
    middles = ((neighbours[:-1].astype(np.float64) + neighbours[1:]) / 2).astype(np.float32)
    expected = torch_values(torch.from_numpy(middles).to(TORCH[dtype]))
    assert_same(from_float32(middles, dtype), expected, dtype)


def test_a_nan_of_any_payload_stays_a_nan() -> None:
    bits = np.array([0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF, 0x7FC00000], "<u4")
    for dtype in BUILD_DTYPES:
        assert np.isnan(round_to(bits.view("<f4"), dtype)).all()


@pytest.mark.parametrize("dtype", BUILD_DTYPES, ids=str)
def test_round_to_is_storing_and_loading_and_does_nothing_twice(dtype: DType) -> None:
    values = np.random.default_rng(0).standard_normal((7, 300)).astype(np.float32) * np.float32(1e3)
    rounded = round_to(values, dtype)
    assert (rounded == to_float32(from_float32(values, dtype), dtype)).all()
    assert (round_to(rounded, dtype) == rounded).all()


def test_cast_keeps_the_shape_of_scalars_empty_and_strided_arrays() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for view in (array[0, 0, 0:0], array[1, 1, 1], array.transpose(2, 0, 1), array[::-1]):
        result = cast(np.asarray(view), FLOAT32, FLOAT16)
        assert result.shape == view.shape
        assert (result == view).all()


def test_cast_works_across_block_borders() -> None:
    values = np.random.default_rng(1).standard_normal(200_001).astype(np.float32)
    assert_same(cast(values, FLOAT32, BFLOAT16), torch_values(torch.from_numpy(values).bfloat16()), BFLOAT16)


def test_float16_overflows_from_65520_on() -> None:
    assert not overflows(65519.996, FLOAT16)
    assert overflows(65520.0, FLOAT16)
    assert not overflows(65520.0, BFLOAT16)
    assert overflows(FLOAT32.max_finite, BFLOAT16)
    assert not overflows(FLOAT32.max_finite, FLOAT32)


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16], ids=str)
@pytest.mark.parametrize("clamp", [False, True])
def test_what_would_round_twice_is_refused(dtype: DType, clamp: bool) -> None:
    with pytest.raises(ValueError, match=r"float64 to .*float16 would round twice"):
        cast(np.array([1 + 2**-11 + 2**-40]), FLOAT64, dtype, clamp=clamp)
