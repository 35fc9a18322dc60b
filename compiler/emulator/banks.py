"""Parameter banks: stored weights, mapped or read, as matrices that the kernel multiplies where they lie.

A bank is the memory of one channel. Weights are never copied: the kernel
widens them in registers, see `kernel_ir`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.dtypes import DType
from compiler.emulator.arithmetic import Vector
from compiler.emulator.kernel import Kernel, Tasks
from compiler.emulator.task import TASK_FIELDS
from compiler.memory_map import CHANNELS
from compiler.rounding import to_float32


class Banks:
    """The channels of one device: stored elements [elements] of `dtype` each."""

    __slots__ = ("addresses", "channels", "dtype")

    def __init__(self, channels: tuple[NDArray[Any], ...], dtype: DType) -> None:
        self.channels = channels
        self.dtype = dtype
        self.addresses: NDArray[np.int64] = np.array([channel.ctypes.data for channel in channels], dtype=np.int64)


def rows_by_channel(rows: int) -> NDArray[np.int64]:
    """How many of `rows` rows lie in each channel."""
    counts: NDArray[np.int64] = (rows + CHANNELS - 1 - np.arange(CHANNELS)) // CHANNELS
    return counts


def channel_tasks(
    addresses: NDArray[np.int64], row_bytes: int, rows: int, cols: int, vectors: int, result: int
) -> Tasks:
    """Tasks of a matrix whose row r lies in channel r % 32, times one vector.

    Args:
        addresses: of the first row of each channel.
        row_bytes: between rows of one channel.
        rows, cols: extent of the matrix.
        vectors: address of the vector, float32 [cols].
        result: address of the result, float32 [rows].
    """
    tasks = np.zeros((CHANNELS, len(TASK_FIELDS)), dtype=np.int64)
    tasks[:, 0] = addresses
    tasks[:, 1] = row_bytes
    tasks[:, 2] = rows_by_channel(rows)
    tasks[:, 3:6] = cols, vectors, cols
    tasks[:, 6] = result + 4 * np.arange(CHANNELS)
    tasks[:, 7:10] = CHANNELS, rows, 1
    return tasks


class Reader:
    """A matrix of parameters on one device, over its banks."""

    __slots__ = ("_kernel", "banks", "cols", "first", "row_bytes", "rows")

    def __init__(self, banks: Banks, kernel: Kernel, first: int, rows: int, cols: int, stride: int) -> None:
        self.banks = banks
        self.first = first
        self.rows = rows
        self.cols = cols
        self.row_bytes = stride * banks.dtype.itemsize
        self._kernel = kernel

    def tasks(self, vectors: int, result: int) -> Tasks:
        """Tasks that multiply it with one vector; see `channel_tasks`."""
        addresses = self.banks.addresses + self.first * self.banks.dtype.itemsize
        return channel_tasks(addresses, self.row_bytes, self.rows, self.cols, vectors, result)

    def times(self, vector: Vector) -> Vector:
        """Matrix times vector, [rows]."""
        vector = np.ascontiguousarray(vector)
        result: Vector = np.empty(self.rows, dtype=np.float32)
        self._kernel.dot(self.banks.dtype, self.tasks(vector.ctypes.data, result.ctypes.data))
        return result

    def values(self) -> Vector:
        """All elements, [rows, cols]; for vectors and small matrices."""
        itemsize = self.banks.dtype.itemsize
        values: Vector = np.empty((self.rows, self.cols), dtype=np.float32)
        for channel, count in enumerate(rows_by_channel(self.rows).tolist()):
            if count:
                stored = self.banks.channels[channel]
                strides = (self.row_bytes, itemsize)
                part = np.ndarray((count, self.cols), stored.dtype, stored, self.first * itemsize, strides)
                values[channel::CHANNELS] = to_float32(part, self.banks.dtype)
        return values


def read_interleaved(banks: Banks, first: int, length: int) -> Vector:
    """`length` elements from element `first` of every channel on, channel varying fastest: the embed layout."""
    width = -(-length // CHANNELS)
    rows = np.stack([channel[first : first + width] for channel in banks.channels])
    return np.ascontiguousarray(to_float32(rows, banks.dtype).T).reshape(-1)[:length]
