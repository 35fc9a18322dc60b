"""Key and value caches: written one token at a time, read as matrices without a copy.

Values are float32 that are already rounded to the build's dtype, in the
places the memory map gives them. A position can be read only after it was
written.
"""

from __future__ import annotations

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
        self.values: Vector = np.zeros((num_devices, CHANNELS, elements), dtype=np.float32)
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
        self.written = np.zeros_like(self.written)
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
        for device, vector in enumerate(vectors):
            for index in range(heads):
                first = (head + index) * region.head_bytes // self.itemsize
                lanes = vector[index * head_dim : (index + 1) * head_dim]
                if self.is_key:
                    begin = first + at // CHANNELS * region.stride
                    self.values[device, at % CHANNELS, begin : begin + head_dim] = lanes
                else:
                    _scatter(self.values[device, :, first + at :: region.stride], lanes)
        self.written[head : head + heads, at] = True
        self.version += 1


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
    """Write lane r to channel r % 32, slot r // 32 of a [32, slots] view."""
    whole = lanes.shape[0] // CHANNELS
    column[:, :whole] = lanes[: whole * CHANNELS].reshape(whole, CHANNELS).T
    rest = lanes[whole * CHANNELS :]
    if rest.shape[0]:
        column[: rest.shape[0], whole] = rest
