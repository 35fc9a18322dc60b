"""Parameter banks: stored weights widened to float32 piece by piece and multiplied.

A bank is the memory of one channel (a mapped file) or of all 32 (a small
build). Mapped weights are never copied whole: pieces that fit the cache are
widened into a scratch buffer. All paths give the same bits, because each row
is summed alike wherever it lies, see `arithmetic.dot_rows`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32, DType
from compiler.emulator.arithmetic import BLOCK_COLS, Vector, dot_rows
from compiler.rounding import to_float32

SCRATCH_ELEMENTS = 1 << 16
"""Elements widened at a time, 256 KiB of float32: stays in the second-level cache."""

_SIGN_AND_MAGNITUDE = np.int32(0x8FFFE000 - (1 << 32))
_REBIAS = np.float32(2.0**112)


class Scratch:
    """A buffer that every product of a machine widens into."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer: Vector = np.empty(SCRATCH_ELEMENTS, dtype=np.float32)

    def take(self, size: int) -> Vector:
        """`size` elements, valid until the next call."""
        if self._buffer.size < size:
            self._buffer = np.empty(size, dtype=np.float32)
        return self._buffer[:size]


class Bank:
    """Stored elements [channels, elements] of `dtype`."""

    __slots__ = ("dtype", "elements")

    def __init__(self, elements: NDArray[Any], dtype: DType) -> None:
        self.elements = elements
        self.dtype = dtype

    def matrix(self, first: int, slots: int, cols: int, stride: int) -> NDArray[Any]:
        """Stored elements [channels, slots, cols] from element `first` of each channel."""
        stored = self.elements
        strides = (stored.strides[0], stride * stored.itemsize, stored.itemsize)
        shape = (stored.shape[0], slots, cols)
        return np.ndarray(shape, stored.dtype, buffer=stored, offset=first * stored.itemsize, strides=strides)


def widen(stored: NDArray[Any], dtype: DType, wide: Vector) -> None:
    """Write finite stored elements as float32 to `wide`, a contiguous array of the same shape."""
    if dtype == FLOAT32:
        np.copyto(wide, stored)
    elif dtype == BFLOAT16:
        bits = wide.view(np.uint32)
        np.copyto(bits, stored)
        np.left_shift(bits, np.uint32(16), out=bits)
    else:
        # Move sign and magnitude to their float32 places, then correct the exponent's bias by an exact
        # multiplication, subnormals included: up to 9 GB/s where numpy's own conversion does 1.5 GB/s.
        signed = wide.view(np.int32)
        np.copyto(signed, stored.view(np.int16))
        np.left_shift(signed, np.int32(13), out=signed)
        np.bitwise_and(signed, _SIGN_AND_MAGNITUDE, out=signed)
        np.multiply(wide, _REBIAS, out=wide)


def is_widened_exactly(stored: NDArray[Any], dtype: DType) -> bool:
    """Whether `widen` is right for these elements: float16 infinities and NaN are not rebiased by it."""
    return dtype != FLOAT16 or all(bool(np.isfinite(row).all()) for row in stored)


class Reader:
    """A matrix of parameters on one device, over the banks that hold its channels."""

    __slots__ = ("_dtype", "_finite", "_pieces", "_scratch", "_shape")

    def __init__(
        self, banks: tuple[Bank, ...], scratch: Scratch, first: int, slots: int, cols: int, stride: int
    ) -> None:
        self._dtype = banks[0].dtype
        self._scratch = scratch
        self._shape = (slots, cols)
        self._pieces = [bank.matrix(first, slots, cols, stride) for bank in banks]
        self._finite: bool | None = None

    def _is_finite(self) -> bool:
        """Whether the fast widening holds; found out once, when the weights are first read."""
        if self._finite is None:
            self._finite = all(is_widened_exactly(piece, self._dtype) for piece in self._pieces)
        return self._finite

    def times(self, vector: Vector) -> Vector:
        """Matrix times vector, row r at index r; rows of padding behind the last."""
        finite = self._is_finite()
        parts = [self._product(piece, vector, finite) for piece in self._pieces]
        return parts[0].reshape(-1) if len(parts) == 1 else np.concatenate(parts, axis=1).reshape(-1)

    def _product(self, stored: NDArray[Any], vector: Vector, finite: bool) -> Vector:
        """[channels, slots, cols] times [cols] -> [slots, channels]."""
        if self._dtype == FLOAT32:
            return dot_rows(stored, vector)
        channels, slots, cols = stored.shape
        total = np.empty((slots, channels), dtype=np.float32)
        step = max(1, SCRATCH_ELEMENTS // (channels * min(cols, BLOCK_COLS)))
        for begin in range(0, slots, step):
            total[begin : begin + step] = self._dot(stored[:, begin : begin + step], vector, finite)
        return total

    def _dot(self, part: NDArray[Any], vector: Vector, finite: bool) -> Vector:
        """`arithmetic.dot_rows`, with each block of columns widened just before it is used."""
        if not finite:
            return dot_rows(to_float32(part, self._dtype), vector)
        total: Vector | None = None
        for begin in range(0, vector.shape[0], BLOCK_COLS):
            block = part[:, :, begin : begin + BLOCK_COLS]
            wide = self._scratch.take(block.size).reshape(block.shape)
            widen(block, self._dtype, wide)
            sums = dot_rows(wide, vector[begin : begin + BLOCK_COLS])
            total = sums if total is None else total + sums
        assert total is not None
        return total

    def values(self) -> Vector:
        """All elements, [rows, cols]; for vectors and small matrices."""
        parts = [to_float32(piece, self._dtype) for piece in self._pieces]
        return np.concatenate(parts).transpose(1, 0, 2).reshape(-1, self._shape[1])

    def columns(self) -> Vector:
        """Elements of one slot in the order of the embed layout: channel varies fastest."""
        parts = [to_float32(piece, self._dtype) for piece in self._pieces]
        return np.ascontiguousarray(np.concatenate(parts)[:, 0].T).reshape(-1)
