"""The memory map: which region of a tensor lies at which HBM address of which device.

Values and address arithmetic, nothing else: the mapper makes a map, the
artifacts carry it (`artifacts.layout` is its JSON form), the emulator and the
app read it. A region occupies the same bytes [begin, end) in every channel of
every device.

Layouts, for element (row, col) of head `head` of a region:
    rows:  channel row % 32, element head * (end - begin) / heads / itemsize + row // 32 * stride + col
    embed: channel col % 32, element row * ceil(cols / 32) + col // 32
    host:  byte b of the host buffer: channel b // 64 % 32, byte b // 64 // 32 * 64 + b % 64
all counted from `begin`. Standard library only.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

from compiler.dtypes import DType
from compiler.source import SourceRef

CHANNELS = 32
BURST_BYTES = 64
MAX_DEVICES = 64
"""Most devices that work as one."""

PARAMETER_KINDS = ("embedding", "weight", "bias", "norm", "table")
"""Kinds that the parameter files hold; the machine may only read them."""

CACHE_KINDS = ("key", "value")
REGION_KINDS = (*PARAMETER_KINDS, *CACHE_KINDS, "io")
LAYOUTS = ("rows", "embed", "host")

NO_SOURCE = SourceRef()


class Place(NamedTuple):
    """Where one element lies: the channel and the byte address in it."""

    channel: int
    address: int


class Element(NamedTuple):
    """Device-local coordinates of one element of a region."""

    head: int
    row: int
    col: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A rectangle of a source tensor that one device holds.

    Local element (local_row + i, local_col + j) of the region on `device` is
    source element (source_row + i, source_col + j), for i < rows, j < cols.
    What no segment covers is padding and holds zeros.
    """

    device: int
    local_row: int
    local_col: int
    source_row: int
    source_col: int
    rows: int
    cols: int


@dataclass(frozen=True, slots=True)
class Region:
    """One tensor, cache or buffer in the memory of every device.

    Attributes:
        name: unique within the map.
        kind: one of REGION_KINDS.
        begin, end: bytes in each channel, multiples of 64.
        layout: one of LAYOUTS, see the module.
        rows, cols: extent on one device (of one head, for a cache); for
            layout host: 1 row of `cols` bytes.
        stride: elements between rows r and r + 32; layout rows only, else 0.
        heads: heads behind one another, (end - begin) / heads bytes apart.
        source: the tensor it came from.
        segments: which part of it each device holds; empty for caches and io.
    """

    name: str
    kind: str
    begin: int
    end: int
    layout: str
    rows: int
    cols: int
    stride: int = 0
    heads: int = 1
    source: SourceRef = NO_SOURCE
    segments: tuple[Segment, ...] = ()

    @property
    def head_bytes(self) -> int:
        """Bytes between two heads in each channel."""
        return (self.end - self.begin) // self.heads

    @property
    def is_parameter(self) -> bool:
        """Whether the parameter files hold it."""
        return self.kind in PARAMETER_KINDS

    def used_bytes(self, itemsize: int) -> int:
        """Bytes of one head of the region that the fullest channel needs."""
        if self.layout == "rows":
            slots = -(-self.rows // CHANNELS)
            return ((slots - 1) * self.stride + self.cols) * itemsize
        if self.layout == "embed":
            return self.rows * -(-self.cols // CHANNELS) * itemsize
        return -(-self.cols // (CHANNELS * BURST_BYTES)) * BURST_BYTES

    def place(self, row: int, col: int, itemsize: int, head: int = 0) -> Place:
        """Where the element lies; (0, byte) for layout host.

        Raises:
            IndexError: the element is outside the region.
        """
        if not (0 <= row < self.rows and 0 <= col < self.cols and 0 <= head < self.heads):
            raise IndexError(f"element ({head}, {row}, {col}) is outside region {self.name}")
        base = self.begin + head * self.head_bytes
        if self.layout == "rows":
            return Place(row % CHANNELS, base + (row // CHANNELS * self.stride + col) * itemsize)
        if self.layout == "embed":
            width = -(-self.cols // CHANNELS)
            return Place(col % CHANNELS, base + (row * width + col // CHANNELS) * itemsize)
        burst, byte = divmod(col, BURST_BYTES)
        return Place(burst % CHANNELS, base + burst // CHANNELS * BURST_BYTES + byte)

    def element(self, channel: int, address: int, itemsize: int) -> Element | None:
        """The element whose bytes include `address` of `channel`; None for padding or outside."""
        if not (self.begin <= address < self.end and 0 <= channel < CHANNELS):
            return None
        head, offset = divmod(address - self.begin, max(1, self.head_bytes))
        if self.layout == "host":
            burst, byte = divmod(offset, BURST_BYTES)
            row, col = 0, (burst * CHANNELS + channel) * BURST_BYTES + byte
        elif self.layout == "rows":
            slot, col = divmod(offset // itemsize, max(1, self.stride))
            row = slot * CHANNELS + channel
        else:
            row, slot = divmod(offset // itemsize, max(1, -(-self.cols // CHANNELS)))
            col = slot * CHANNELS + channel
        inside = head < self.heads and row < self.rows and col < self.cols
        return Element(head, row, col) if inside else None

    def source_element(self, device: int, row: int, col: int) -> tuple[int, int] | None:
        """Row and column in the source tensor; None for padding."""
        for part in self.segments:
            down, across = row - part.local_row, col - part.local_col
            if part.device == device and 0 <= down < part.rows and 0 <= across < part.cols:
                return part.source_row + down, part.source_col + across
        return None


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """All regions of a build, in ascending order of address.

    Attributes:
        target: device name.
        num_devices: devices that share the model.
        dtype: element type of everything but the io region.
        max_length: tokens the caches hold.
        channel_bytes: capacity of one channel.
        file_bytes: end of the parameters; caches and io lie behind.
        regions: ascending and disjoint.
    """

    target: str
    num_devices: int
    dtype: DType
    max_length: int
    channel_bytes: int
    file_bytes: int
    regions: tuple[Region, ...]
    channels: int = CHANNELS

    @property
    def end(self) -> int:
        """First byte of a channel behind all regions."""
        return self.regions[-1].end if self.regions else 0

    def region_at(self, address: int) -> Region | None:
        """The region that holds `address` of every channel."""
        index = bisect_right(self.regions, address, key=lambda region: region.begin) - 1
        if index < 0 or address >= self.regions[index].end:
            return None
        return self.regions[index]

    def region(self, name: str) -> Region:
        """The region called `name`; KeyError when there is none."""
        for region in self.regions:
            if region.name == name:
                return region
        raise KeyError(name)
