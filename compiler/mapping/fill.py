"""The contents of the channels: tensors cut, cast and interleaved as the memory map says.

In: a memory map, the sources of its regions, a device. Out: blocks of [32, elements]
in ascending address order, a few megabytes each whatever the model's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from compiler.dtypes import DType
from compiler.mapping.sources import Sources
from compiler.memory_map import CHANNELS, MemoryMap, Region
from compiler.rounding import Stored, cast, storage

BLOCK_BYTES = 8 << 20
"""Size of a block, all channels together."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Bytes for all channels at one address.

    Attributes:
        region: what they belong to.
        address: first byte in every channel.
        content: storage of the build's dtype, [32, elements].
    """

    region: Region
    address: int
    content: Stored


def device_blocks(
    memory_map: MemoryMap, sources: Sources, device: int, block_bytes: int = BLOCK_BYTES
) -> Iterator[Block]:
    """All parameter bytes of one device, in ascending address order.

    Args:
        block_bytes: about how large a block may be.
    """
    for region in memory_map.regions:
        if not region.is_parameter:
            continue
        source, dtype = sources.rows(region)
        to_build = partial(cast, from_dtype=dtype, to_dtype=memory_map.dtype, clamp=sources.clamp)
        for begin, end in _row_blocks(region, memory_map.dtype.itemsize, block_bytes):
            local = _local_rows(region, source, to_build, memory_map.dtype, device, begin, end)
            if region.layout == "rows":
                slot_bytes = region.stride * memory_map.dtype.itemsize
                yield Block(region, region.begin + begin // CHANNELS * slot_bytes, _interleave_rows(local))
            else:
                width = -(-region.cols // CHANNELS) * memory_map.dtype.itemsize
                yield Block(region, region.begin + begin * width, _interleave_columns(local))


def _row_blocks(region: Region, itemsize: int, block_bytes: int) -> Iterator[tuple[int, int]]:
    """Local rows [begin, end) of each block; begin is a multiple of 32."""
    row_bytes = max(region.stride, region.cols) * itemsize
    step = max(1, block_bytes // (CHANNELS * row_bytes)) * CHANNELS
    for begin in range(0, region.rows, step):
        yield begin, min(begin + step, region.rows)


def _local_rows(
    region: Region,
    source: Stored,
    to_build: Callable[[Stored], Stored],
    target: DType,
    device: int,
    begin: int,
    end: int,
) -> Stored:
    """Local rows begin..end in the build's dtype, zero where there is only padding.

    Shape [rows rounded up to 32 for layout rows, stride or columns rounded up to 32].
    """
    if region.layout == "rows":
        height, width = -(-(end - begin) // CHANNELS) * CHANNELS, region.stride
    else:
        height, width = end - begin, -(-region.cols // CHANNELS) * CHANNELS
    parts = [part for part in region.segments if part.device == device]
    if len(parts) == 1 and height == end - begin and width == parts[0].cols == source.shape[1]:
        part = parts[0]
        if part.local_row <= begin and part.local_row + part.rows >= end:
            first = part.source_row + begin - part.local_row
            return to_build(source[first : first + height])
    local = np.zeros((height, width), storage(target))
    for part in parts:
        low, high = max(begin, part.local_row), min(end, part.local_row + part.rows)
        if low < high:
            first = part.source_row + low - part.local_row
            rows = source[first : first + high - low, part.source_col : part.source_col + part.cols]
            local[low - begin : high - begin, part.local_col : part.local_col + part.cols] = to_build(
                np.ascontiguousarray(rows)
            )
    return local


def _interleave_rows(local: Stored) -> Stored:
    """[32 * slots, stride] -> [32, slots * stride]: row r goes to channel r % 32."""
    slots, stride = local.shape[0] // CHANNELS, local.shape[1]
    return np.ascontiguousarray(local.reshape(slots, CHANNELS, stride).swapaxes(0, 1)).reshape(CHANNELS, -1)


def _interleave_columns(local: Stored) -> Stored:
    """[rows, 32 * width] -> [32, rows * width]: column c goes to channel c % 32."""
    rows, width = local.shape[0], local.shape[1] // CHANNELS
    return np.ascontiguousarray(local.reshape(rows, width, CHANNELS).transpose(2, 0, 1)).reshape(CHANNELS, -1)
