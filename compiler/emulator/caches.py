"""Key and value caches: written one token at a time, read as matrices without a copy.

Values are float32 that are already rounded to the build's dtype, in the
places the memory map gives them. A position can be read only after it was
written.
"""

from __future__ import annotations

import math
import mmap
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from compiler.dtypes import FLOAT32
from compiler.emulator.arithmetic import Vector
from compiler.emulator.banks import channel_tasks
from compiler.emulator.kernel import Kernel
from compiler.emulator.trap import Trap
from compiler.memory_map import CHANNELS, Region


class Cache:
    """One key or value region: values per device, and which positions were written.

    Attributes:
        region: its place in the map.
        values: float32 [devices, channels, elements of the region].
        written: bool [heads, positions].
        version: number of writes.
    """

    __slots__ = ("itemsize", "kernel", "region", "values", "version", "written")

    def __init__(self, region: Region, num_devices: int, itemsize: int, kernel: Kernel) -> None:
        self.region = region
        self.kernel = kernel
        elements = (region.end - region.begin) // itemsize
        self.values: Vector = _zero_pages((num_devices, CHANNELS, elements))
        positions = region.rows if region.kind == "key" else region.cols
        self.written: NDArray[np.bool_] = np.zeros((region.heads, positions), dtype=np.bool_)
        self.version = 0
        self.itemsize = itemsize

    @property
    def is_key(self) -> bool:
        """Whether rows are tokens; else columns are."""
        return self.region.kind == "key"

    def forget(self) -> None:
        """Treat every position as never written."""
        self.written[:] = False  # in place: planned instructions keep its address
        self.version += 1

    def addresses(self, device: int, first: int) -> NDArray[np.int64]:
        """Of element `first` of every channel of a device."""
        base, step = self.values[device].ctypes.data, self.values.strides[1]
        addresses: NDArray[np.int64] = base + 4 * first + step * np.arange(CHANNELS)
        return addresses

    def write(self, head: int, heads: int, at: int, vectors: list[Vector]) -> None:
        """Write token `at` of `heads` heads from `head` on; the caller has checked the extents."""
        region = self.region
        head_dim = vectors[0].shape[0] // heads
        size = region.head_bytes // self.itemsize
        for values, vector in zip(self.values, vectors, strict=True):
            lanes = vector.reshape(heads, head_dim)
            by_head = values[:, head * size : (head + heads) * size].reshape(CHANNELS, heads, size)
            if self.is_key:
                begin = at // CHANNELS * region.stride
                by_head[at % CHANNELS, :, begin : begin + head_dim] = lanes
            else:
                _scatter(by_head[:, :, at :: region.stride], lanes)
        self.written[head : head + heads, at] = True
        self.version += 1

    def erase(self, head: int, heads: int, at: int) -> None:
        """Token `at` of `heads` heads from `head` on was never written after all."""
        head_dim = self.region.cols if self.is_key else self.region.rows
        self.write(head, heads, at, [np.zeros(heads * head_dim, dtype=np.float32)] * self.values.shape[0])
        self.written[head : head + heads, at] = False

    def token(self, device: int, at: int) -> Vector:
        """What was written for token `at`, [heads * head_dim]."""
        region = self.region
        head_dim = region.cols if self.is_key else region.rows
        by_head = self.values[device].reshape(CHANNELS, region.heads, -1)
        if self.is_key:
            begin = at // CHANNELS * region.stride
            key: Vector = by_head[at % CHANNELS, :, begin : begin + head_dim].reshape(-1)
            return key
        slots = by_head[:, :, at :: region.stride][:, :, : -(-head_dim // CHANNELS)]
        value: Vector = slots.transpose(1, 2, 0).reshape(region.heads, -1)[:, :head_dim].reshape(-1)
        return value


class CacheMatrix:
    """Rows and columns of one head of a cache, on every device, as they were when it was opened."""

    __slots__ = ("_version", "cache", "cols", "first", "rows")

    def __init__(self, rows: int, cols: int, cache: Cache, first: int) -> None:
        self.rows = rows
        self.cols = cols
        self.cache = cache
        self.first = first
        self._version = cache.version

    def times(self, device: int, vector: Vector) -> Vector:
        """Matrix times vector, [rows]."""
        cache = self.cache
        if cache.version != self._version:
            raise Trap(f"{cache.region.name} was written between rd.kv and its consumer")
        vector = np.ascontiguousarray(vector)
        result: Vector = np.empty(self.rows, dtype=np.float32)
        addresses, row_bytes = cache.addresses(device, self.first), 4 * cache.region.stride
        tasks = channel_tasks(addresses, row_bytes, self.rows, self.cols, vector.ctypes.data, result.ctypes.data)
        cache.kernel.dot(FLOAT32, tasks)
        return result

    def vector(self, device: int) -> Vector:
        """Never: a cache is no parameter vector."""
        raise Trap(f"the stream holds cache {self.cache.region.name}, expected a parameter vector")


def _scatter(column: Vector, lanes: Vector) -> None:
    """Write lane r of every head to channel r % 32, slot r // 32 of a [32, heads, slots] view."""
    heads, head_dim = lanes.shape
    whole = head_dim // CHANNELS
    column[:, :, :whole] = lanes[:, : whole * CHANNELS].reshape(heads, whole, CHANNELS).transpose(2, 0, 1)
    rest = head_dim - whole * CHANNELS
    if rest:
        column[:rest, :, whole] = lanes[:, whole * CHANNELS :].T


def _zero_pages(shape: tuple[int, ...]) -> Vector:
    """Zeros that need memory only where they are written: in huge pages, few tokens would already need it all."""
    count = math.prod(shape)
    if not hasattr(mmap, "MADV_NOHUGEPAGE") or not count:
        return np.zeros(shape, dtype=np.float32)
    try:
        pages = mmap.mmap(-1, 4 * count)
    except (OSError, OverflowError):
        raise MemoryError from None
    with suppress(OSError):
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, dtype=np.float32).reshape(shape)
