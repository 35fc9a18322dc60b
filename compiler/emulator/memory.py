"""Device memory: the parameter files of a build, and the key/value caches behind them.

A build -> matrices that streams read. Parameters stay in their files, mapped
read-only; caches are zero pages, float32 values that are already rounded.
Every access is checked against the memory map.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.artifacts.reader import Build
from compiler.dtypes import DType
from compiler.emulator.arithmetic import Vector
from compiler.emulator.banks import Banks, Reader, read_interleaved
from compiler.emulator.caches import Cache, CacheMatrix
from compiler.emulator.kernel import Kernel, default_kernel
from compiler.emulator.trap import Trap
from compiler.errors import ArtifactError, CapacityError
from compiler.header import HEADER_BYTES
from compiler.memory_map import CACHE_KINDS, CHANNELS, MemoryMap, Region
from compiler.rounding import storage, to_float32

_SPARE_FILES = 256


@dataclass(frozen=True, slots=True)
class Place:
    """A base address of a stream: the region and the device-local row and column there."""

    region: Region
    head: int
    row: int
    col: int


class ParameterMatrix:
    """Rows and columns of a parameter region, on every device that runs here."""

    __slots__ = ("_vectors", "cols", "readers", "rows")

    def __init__(self, rows: int, cols: int, readers: tuple[Reader, ...]) -> None:
        self.rows = rows
        self.cols = cols
        self.readers = readers
        self._vectors: dict[int, Vector] = {}

    def times(self, device: int, vector: Vector) -> Vector:
        """Matrix times vector, [rows]."""
        return self.readers[device].times(vector)

    def vector(self, device: int) -> Vector:
        """The values of a matrix of one column or one row, kept for the next time."""
        if device not in self._vectors:
            self._vectors[device] = self.readers[device].values().reshape(-1)
        return self._vectors[device]


class Memory:
    """The HBM of the devices of a build that run in this process.

    Attributes:
        memory_map: the regions.
        kernel: multiplies.
        channel_addresses: of byte 0 of every channel in this process, [devices, channels].

    Args:
        build: whose memory.
        devices: which devices; the indices of all methods count within them.
        kernel: computes products; None: that of this process.

    Raises:
        ArtifactError: a parameter file cannot be read.
        CapacityError: the caches do not fit this computer's memory.
    """

    def __init__(self, build: Build, devices: range, kernel: Kernel | None = None) -> None:
        self.memory_map: MemoryMap = build.memory_map
        self.kernel = kernel or default_kernel()
        self._itemsize = self.memory_map.dtype.itemsize
        self._banks = _open_banks(build, devices)
        self.channel_addresses: NDArray[np.int64] = np.stack([banks.addresses for banks in self._banks])
        self._places: dict[int, Place] = {}
        self._parameters: dict[tuple[int, int, int, int], ParameterMatrix] = {}
        try:
            self._caches = {
                region.name: Cache(region, len(devices), self._itemsize, self.kernel)
                for region in self.memory_map.regions
                if region.kind in CACHE_KINDS
            }
        except (MemoryError, ValueError):
            raise CapacityError("the key/value caches do not fit this computer's memory", "lower max_length") from None

    def reset(self) -> None:
        """Forget the caches."""
        for cache in self._caches.values():
            cache.forget()

    def cache(self, name: str) -> Cache:
        """The cache of region `name`, which must be one."""
        if name not in self._caches:
            raise Trap(f"region {name} is no cache")
        return self._caches[name]

    def place(self, address: int) -> Place:
        """What lies at byte `address` of every channel."""
        found = self._places.get(address)
        if found is None:
            region = self.memory_map.region_at(address)
            if region is None:
                raise Trap(f"address {address:#x} is in no region")
            element = region.element(0, address, self._itemsize)
            if element is None:
                raise Trap(f"address {address:#x} is padding of region {region.name}")
            found = self._places[address] = Place(region, *element)
        return found

    def open_parameters(self, address: int, rows: int, cols: int, stride: int) -> ParameterMatrix:
        """Rows and columns of a parameter region, from the element at `address` of channel 0 on."""
        key = (address, rows, cols, stride)
        found = self._parameters.get(key)
        if found is None:
            place = self.place(address)
            _check_parameters(place, rows, cols, stride)
            first = address // self._itemsize
            readers = tuple(Reader(banks, self.kernel, first, rows, cols, stride) for banks in self._banks)
            found = self._parameters[key] = ParameterMatrix(rows, cols, readers)
        return found

    def read_embedding(self, address: int, index: int, length: int, rows: int) -> list[Vector]:
        """Row `index` of an embedding or rotary table, per device."""
        region = self.check_embedding(address, length, rows)
        if not 0 <= index < rows:
            raise Trap(f"index {index} is outside the {rows} rows of region {region.name}")
        width = -(-length // CHANNELS)
        first = address // self._itemsize + index * width
        return [read_interleaved(banks, first, length) for banks in self._banks]

    def check_embedding(self, address: int, length: int, rows: int) -> Region:
        """The table at `address`; it must be one of at least `rows` rows of `length`."""
        place = self.place(address)
        region = place.region
        if not region.is_parameter or region.layout != "embed":
            raise Trap(f"region {region.name} is a {region.kind} in layout {region.layout}, not an embedding table")
        if (place.row, place.col) != (0, 0) or length != region.cols or rows > region.rows:
            raise Trap(f"region {region.name} holds {region.rows} rows of {region.cols}, not {rows} of {length}")
        return region

    def open_cache(
        self, address: int, rows: int, cols: int, stride: int, first_row: int = 0, first_col: int = 0
    ) -> CacheMatrix:
        """Rows and columns of one head of a cache, all of them written before.

        Args:
            first_row: behind the element at `address`; a multiple of CHANNELS.
            first_col: behind it, too.
        """
        place = self.place(address)
        region, cache = place.region, self._cache_at(place, CACHE_KINDS)
        row, col = place.row + first_row, place.col + first_col
        if not 0 < rows <= region.rows - row or not 0 < cols <= region.cols - col:
            raise Trap(f"{rows} x {cols} at ({row}, {col}) is outside region {region.name}")
        if stride != region.stride:
            raise Trap(f"stride {stride} is not the {region.stride} of region {region.name}")
        begin, count = (row, rows) if cache.is_key else (col, cols)
        written = cache.written[place.head, begin : begin + count]
        if not written.all():
            missing = begin + int(np.argmin(written))
            raise Trap(f"token {missing} of {region.name}, head {place.head}, was never written")
        first = (address - region.begin) // self._itemsize + first_row // CHANNELS * stride + first_col
        return CacheMatrix(rows, cols, cache, first)

    def write_cache(
        self, kind: str, address: int, at: int, vectors: list[Vector], heads: int, stride: int, head_stride: int
    ) -> None:
        """Write token `at` of `heads` heads; one vector of heads * head_dim values per device."""
        cache, head = self.check_cache_write(kind, address, heads, vectors[0].shape[0], stride, head_stride)
        if not 0 <= at < cache.written.shape[1]:
            raise Trap(f"token {at} is outside the {cache.written.shape[1]} of region {cache.region.name}")
        cache.write(head, heads, at, vectors)

    def check_cache_write(
        self, kind: str, address: int, heads: int, length: int, stride: int, head_stride: int
    ) -> tuple[Cache, int]:
        """The cache at `address` and the head there; `length` values must be a token of `heads` heads from it on."""
        place = self.place(address)
        region, cache = place.region, self._cache_at(place, (kind,))
        head_dim = region.cols if cache.is_key else region.rows
        if (place.row, place.col) != (0, 0) or not 0 < heads <= region.heads - place.head:
            raise Trap(f"{heads} heads at {address:#x} are outside the {region.heads} of region {region.name}")
        if length != heads * head_dim:
            raise Trap(f"{length} values are not {heads} heads of {head_dim} in region {region.name}")
        if stride != region.stride or (heads > 1 and head_stride != region.head_bytes):
            raise Trap(f"strides {stride} and {head_stride} are not those of region {region.name}")
        return cache, place.head

    def peek(self, device: int, channel: int, address: int, count: int) -> Vector:
        """Up to `count` values from byte `address` of a channel on, as far as their region reaches.

        For views of memory: nothing is checked against what was written, padding reads as it is stored.
        """
        region = self.memory_map.region_at(address)
        if region is None or region.kind == "io":
            return np.empty(0, dtype=np.float32)
        count = max(0, min(count, (region.end - address) // self._itemsize))
        if not region.is_parameter:
            first = (address - region.begin) // self._itemsize
            return self._caches[region.name].values[device, channel, first : first + count].copy()
        banks = self._banks[device]
        first = address // self._itemsize
        return np.array(to_float32(banks.channels[channel][first : first + count], banks.dtype))

    def _cache_at(self, place: Place, kinds: tuple[str, ...]) -> Cache:
        if place.region.kind not in kinds:
            raise Trap(f"region {place.region.name} is a {place.region.kind}, expected {' or '.join(kinds)}")
        return self._caches[place.region.name]


def _check_parameters(place: Place, rows: int, cols: int, stride: int) -> None:
    region = place.region
    if not region.is_parameter:
        raise Trap(f"region {region.name} is a {region.kind}, expected parameters")
    if region.layout == "embed":
        # one row of the embed layout lies exactly like a column of the rows layout with stride 1
        have_rows, have_cols, have_stride = region.cols - place.col, 1, 1
    else:
        have_rows, have_cols, have_stride = region.rows - place.row, region.cols - place.col, region.stride
    if not 0 < rows <= have_rows or not 0 < cols <= have_cols:
        raise Trap(f"{rows} x {cols} at ({place.row}, {place.col}) is outside region {region.name}")
    if stride != have_stride and rows > CHANNELS:
        raise Trap(f"stride {stride} is not the {have_stride} of region {region.name}")


def _open_banks(build: Build, devices: range) -> tuple[Banks, ...]:
    """The banks of every device."""
    dtype = build.memory_map.dtype
    paths = [[build.param_file(device, channel) for channel in range(CHANNELS)] for device in devices]
    try:
        if build.memory_map.file_bytes == 0:
            return tuple(Banks((np.empty(0, dtype=storage(dtype)),) * CHANNELS, dtype) for _ in devices)
        _allow_open_files(CHANNELS * len(paths))
        return tuple(Banks(tuple(_map_file(path, dtype) for path in files), dtype) for files in paths)
    except OSError as error:
        what = error.filename or "the parameter files"
        raise ArtifactError(f"{what} cannot be read: {error.strerror}", "compile the model again") from None
    except ValueError as error:
        raise ArtifactError(f"the parameter files cannot be read: {error}", "compile the model again") from None


def _map_file(path: Path, dtype: DType) -> NDArray[Any]:
    return np.asarray(np.memmap(path, dtype=storage(dtype), mode="r", offset=HEADER_BYTES))


def _allow_open_files(count: int) -> None:
    """Raise the soft limit: a mapping keeps its file open, and 64 devices have 2048 of them."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = count + _SPARE_FILES if hard == resource.RLIM_INFINITY else min(count + _SPARE_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
