"""What lies in the bytes of a channel: elements with values and tensor coordinates, padding. Standard library only."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from compiler.artifacts.files import REPEAT, find_build_file
from compiler.artifacts.manifest import param_file
from compiler.dtypes import DType
from compiler.errors import ArtifactError
from compiler.header import HEADER_BYTES, Payload, check_header
from compiler.memory_map import BURST_BYTES, CHANNELS, Element, MemoryMap, Place, Region
from compiler.strict_json import RECOMPILE


class ChannelBytes:
    """Reads bytes of single channels of a parameter folder; one file is open at a time."""

    def __init__(self, folder: Path, memory_map: MemoryMap) -> None:
        self._folder = folder
        self._map = memory_map
        self._open: tuple[str, int] | None = None

    def read(self, device: int, channel: int, address: int, count: int) -> bytes | None:
        """Up to `count` bytes; None where the file ends before: caches and host buffer exist on the device only.

        Raises:
            ArtifactError: the file cannot be read.
        """
        if address >= self._map.file_bytes:
            return None
        name = param_file(self._map.num_devices, device, channel)
        try:
            if self._open is None or self._open[0] != name:
                self.close()
                real = find_build_file(self._folder, name).real
                self._open = (name, os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK))
                check_header(os.pread(self._open[1], HEADER_BYTES, 0), Payload.PARAM, name)
            wanted = min(count, self._map.file_bytes - address)
            found = os.pread(self._open[1], wanted, HEADER_BYTES + address)
        except OSError as error:
            raise ArtifactError(f"{name} cannot be read: {error.strerror}", RECOMPILE) from None
        except ArtifactError:
            self.close()
            raise
        if len(found) < wanted:
            raise ArtifactError(
                f"{name} ends before byte {HEADER_BYTES + address + wanted:,}: it was cut short", REPEAT
            )
        return found

    def close(self) -> None:
        """Close what is open."""
        if self._open is not None:
            os.close(self._open[1])
            self._open = None


@dataclass(frozen=True, slots=True)
class Spot:
    """One element of a region in one channel of one device.

    Attributes:
        element: device-local coordinates, None for padding.
        source: row and column in the Hugging Face tensor, None where there is none.
    """

    device: int
    channel: int
    address: int
    element: Element | None
    source: tuple[int, int] | None


def spot_at(region: Region, dtype: DType, device: int, channel: int, address: int) -> Spot:
    """What the byte at `address` of a channel belongs to; the spot's address is that of its element's first byte."""
    size = element_bytes(region, dtype)
    address -= (address - region.begin) % size
    element = region.element(channel, address, size)
    source = region.source_element(device, element.row, element.col) if element is not None else None
    return Spot(device, channel, address, element, source)


def element_bytes(region: Region, dtype: DType) -> int:
    """Bytes of one element of a region; the host buffer is shown in 32-bit words."""
    return 4 if region.layout == "host" else dtype.itemsize


def tile_bytes(region: Region, dtype: DType) -> int:
    """Bytes that a channel holds of a tile: of 32 rows, of a row of an embedding, of a burst of the host buffer."""
    if region.layout == "host":
        return BURST_BYTES
    elements = region.stride if region.layout == "rows" else -(-region.cols // CHANNELS)
    return max(1, elements) * element_bytes(region, dtype)


def place_of_source(region: Region, dtype: DType, row: int, col: int, device: int = 0) -> tuple[int, Place] | None:
    """Device, channel and address of element [row, col] of the region's tensor, `device` first; None: nobody has it.

    A region without a tensor has its own coordinates, the same on every device.
    """
    if not region.segments:
        inside = row < region.rows and col < region.cols
        return (device, region.place(row, col, dtype.itemsize)) if inside else None
    for part in sorted(region.segments, key=lambda part: part.device != device):
        down, across = row - part.source_row, col - part.source_col
        if 0 <= down < part.rows and 0 <= across < part.cols:
            place = region.place(part.local_row + down, part.local_col + across, dtype.itemsize)
            return part.device, place
    return None


def value_text(raw: bytes, dtype: DType) -> str:
    """An element as a number, e.g. `0.01227`; shorter pieces as nothing."""
    if len(raw) != dtype.itemsize:
        return ""
    if dtype.name == "bfloat16":
        raw, code = b"\0\0" + raw, "<f"
    else:
        code = "<e" if dtype.itemsize == 2 else "<f"
    return f"{struct.unpack(code, raw)[0]:.6g}"


def held_bytes(region: Region, itemsize: int, device: int, channel: int) -> int:
    """Bytes of a region that hold elements in one channel of one device; the rest of it is padding."""
    if region.layout == "host":
        whole, rest = divmod(region.cols, CHANNELS * 64)
        return whole * 64 + min(64, max(0, rest - channel * 64))
    parts = [part for part in region.segments if part.device == device]
    spans = [(part.local_row, part.local_col, part.rows, part.cols) for part in parts]
    if not region.segments:
        spans = [(0, 0, region.rows, region.cols)]
    total = 0
    for row, col, rows, cols in spans:
        if region.layout == "rows":
            total += _of_channel(row, rows, channel) * cols
        else:
            total += rows * _of_channel(col, cols, channel)
    return total * region.heads * itemsize


def _of_channel(begin: int, count: int, channel: int) -> int:
    """How many of `count` numbers from `begin` on are `channel` modulo 32."""
    first = begin + (channel - begin) % CHANNELS
    return max(0, -(-(begin + count - first) // CHANNELS))
