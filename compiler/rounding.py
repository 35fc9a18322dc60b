"""Floating-point storage formats as numpy arrays, and rounding between them.

A stored array holds float16, float32 or float64 numbers, or the bits of
bfloat16 as uint16. Every conversion rounds to nearest, ties to even; a
magnitude too large becomes infinity, NaN stays NaN. Imports numpy, so start-up
paths must not import this module.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.dtypes import BFLOAT16, FLOAT32, FLOAT64, DType

Stored: TypeAlias = npt.NDArray[Any]
"""An array of a `storage` type."""

Float32: TypeAlias = npt.NDArray[np.float32]

_BLOCK_ELEMENTS = 1 << 16
"""Elements converted at a time, so that the float32 intermediate stays in the cache."""

_STORAGE = {"float16": "<f2", "bfloat16": "<u2", "float32": "<f4", "float64": "<f8"}


def storage(dtype: DType) -> np.dtype[Any]:
    """The numpy type that holds a `dtype`; bfloat16 is uint16 bits."""
    return np.dtype(_STORAGE[dtype.name])


def to_float32(bits: Stored, dtype: DType) -> Float32:
    """Stored values as float32, exact except for float64; float32 itself is returned, not copied."""
    if dtype == BFLOAT16:
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(over="ignore"):
        return bits.astype(np.float32, copy=False)


def from_float32(values: Float32, dtype: DType) -> Stored:
    """Round float32 values to the storage of `dtype`; float32 itself is returned, not copied."""
    if dtype == BFLOAT16:
        return (_bfloat16_bits(values) >> np.uint32(16)).astype(np.uint16)
    with np.errstate(over="ignore"):
        return values.astype(storage(dtype), copy=False)


def round_to(values: Float32, dtype: DType) -> Float32:
    """Round float32 values to the nearest `dtype` values, kept as float32.

    float32 itself is returned, not copied.
    """
    if dtype == FLOAT32:
        return values
    if dtype == BFLOAT16:
        return _bfloat16_bits(values).view(np.float32)
    return to_float32(from_float32(values, dtype), dtype)


def cast(array: Stored, from_dtype: DType, to_dtype: DType, *, clamp: bool = False) -> Stored:
    """Convert stored values to another storage, rounding once.

    Args:
        array: the values.
        from_dtype: theirs.
        to_dtype: wanted.
        clamp: a magnitude too large becomes the largest finite one, not infinite.

    Raises:
        ValueError: float64 to less than float32, which would round twice on its way through float32.

    Returns:
        A new contiguous array of the same shape, or `array` itself when the dtypes are equal.
    """
    if from_dtype == to_dtype:
        return array
    if from_dtype == FLOAT64 and to_dtype != FLOAT32:
        raise ValueError(f"{from_dtype} to {to_dtype} would round twice: cast to {FLOAT32} first, if that is wanted")
    result = np.empty(array.shape, storage(to_dtype))
    source, target = np.ravel(array), result.reshape(-1)
    for begin in range(0, source.size, _BLOCK_ELEMENTS):
        block = source[begin : begin + _BLOCK_ELEMENTS]
        if clamp:
            block = np.clip(to_float32(block, from_dtype), -to_dtype.max_finite, to_dtype.max_finite)
            target[begin : begin + _BLOCK_ELEMENTS] = from_float32(block, to_dtype)
        elif from_dtype == BFLOAT16 or to_dtype == BFLOAT16:
            target[begin : begin + _BLOCK_ELEMENTS] = from_float32(to_float32(block, from_dtype), to_dtype)
        else:
            with np.errstate(over="ignore"):
                target[begin : begin + _BLOCK_ELEMENTS] = block
    return result


def overflows(magnitude: float, dtype: DType) -> bool:
    """Whether a float32 magnitude rounds to infinity in `dtype`; 65520 is the first that does in float16."""
    return bool(np.isinf(round_to(np.full(1, magnitude, dtype=np.float32), dtype))[0])


def _bfloat16_bits(values: Float32) -> npt.NDArray[np.uint32]:
    """Float32 bits of `values` rounded to bfloat16: the lower 16 bits are zero."""
    bits = np.asarray(values, dtype=np.float32).view(np.uint32)
    rounded = bits >> np.uint32(16)
    rounded &= np.uint32(1)
    rounded += np.uint32(0x7FFF)
    rounded += bits
    rounded &= np.uint32(0xFFFF0000)
    nan = np.isnan(values)
    if nan.any():  # adding to an all-ones mantissa would carry into the sign
        rounded[nan] = (bits[nan] & np.uint32(0xFFFF0000)) | np.uint32(0x00400000)
    return rounded
