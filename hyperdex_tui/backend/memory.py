"""The memory map of a build for a screen: regions sorted and filtered, totals by kind, a bar of cells."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler.artifacts.layout import memory_map_from_json
from compiler.artifacts.manifest import MEMORY_MAP
from compiler.memory_map import BURST_BYTES, REGION_KINDS, MemoryMap, Region
from hyperdex_tui.backend.cells import held_bytes
from hyperdex_tui.backend.mapped import read_file

_MAP_LIMIT = 512 << 20

FREE = "free"
LETTERS: dict[str, str] = {
    "embedding": "E",
    "weight": "W",
    "bias": "B",
    "norm": "N",
    "table": "T",
    "key": "K",
    "value": "V",
    "io": "I",
    FREE: "·",
}
"""One letter per kind: what the bar says without colour."""

SORTS = ("address", "size", "name")


OUTSIDE = "outside layers"
"""Key of what belongs to no decoder layer."""

Key = Callable[[Region], str]
"""What a region is counted and coloured under."""


def kind_key(region: Region) -> str:
    """By kind."""
    return region.kind


def layer_key(region: Region) -> str:
    """By decoder layer."""
    return f"layer {region.source.layer}" if region.source.layer >= 0 else OUTSIDE


def letter_of(key: str) -> str:
    """One character that tells a key from its neighbours without colour."""
    return LETTERS.get(key) or ("-" if key == OUTSIDE else key[-1])


@dataclass(frozen=True, slots=True)
class Total:
    """All regions of one key; bytes of one device."""

    key: str
    count: int
    bytes: int


def open_memory_map(folder: Path) -> MemoryMap:
    """Read the memory map of a parameter folder.

    Raises:
        ArtifactError: missing, damaged or of another version.
    """
    return memory_map_from_json(read_file(folder / MEMORY_MAP, _MAP_LIMIT))


def device_bytes(memory_map: MemoryMap, region: Region) -> int:
    """Bytes a region takes on one device, over all channels."""
    return (region.end - region.begin) * memory_map.channels


def totals(memory_map: MemoryMap, key: Key = kind_key) -> tuple[Total, ...]:
    """Totals of the keys that occur: kinds in the order of the table, layers in theirs."""
    sizes: dict[str, list[int]] = {}
    for region in memory_map.regions:
        sizes.setdefault(key(region), []).append(device_bytes(memory_map, region))
    order = [*REGION_KINDS, *sorted({*sizes} - {*REGION_KINDS}, key=_layer_order)]
    return tuple(Total(name, len(sizes[name]), sum(sizes[name])) for name in order if name in sizes)


def _layer_order(key: str) -> int:
    return -1 if key == OUTSIDE else int(key.rpartition(" ")[2])


def select(memory_map: MemoryMap, wanted: str, sort: str) -> tuple[Region, ...]:
    """Regions whose name, kind or tensor contain all words of `wanted`, sorted."""
    words = wanted.casefold().split()
    found = [region for region in memory_map.regions if all(word in _searchable(region) for word in words)]
    if sort == "size":
        found.sort(key=lambda region: (region.begin - region.end, region.begin))
    elif sort == "name":
        found.sort(key=lambda region: region.name)
    return tuple(found)


def _searchable(region: Region) -> str:
    return f"{region.name} {region.kind} {region.source.tensor} {region.source.module}".casefold()


@dataclass(frozen=True, slots=True)
class Window:
    """The bytes [begin, end) of a channel that the bar shows."""

    begin: int
    end: int

    def zoomed(self, factor: float, center: int, limit: int) -> Window:
        """The window with `factor` times the bytes, around `center`, within [0, limit)."""
        size = max(BURST_BYTES, min(limit, round((self.end - self.begin) * factor)))
        begin = max(0, min(center - size // 2, limit - size))
        return Window(begin, begin + size)

    def moved(self, share: float, limit: int) -> Window:
        """The window moved by a share of its size, within [0, limit)."""
        size = self.end - self.begin
        begin = max(0, min(self.begin + round(size * share), limit - size))
        return Window(begin, begin + size)

    def holds(self, region: Region) -> bool:
        """Whether a byte of the region is in sight."""
        return region.begin < self.end and self.begin < region.end


def whole_window(memory_map: MemoryMap) -> Window:
    """Everything that is used."""
    return Window(0, max(1, memory_map.end))


def bar_runs(memory_map: MemoryMap, width: int, window: Window, key: Key = kind_key) -> tuple[tuple[str, int], ...]:
    """The bytes of a window as `width` cells: (key, cells) runs in address order.

    A cell shows the key that has most of its bytes; zoom shows what is smaller than a cell.
    """
    runs: list[tuple[str, int]] = []
    for cell in range(max(0, width)):
        name = _key_of_cell(memory_map, *_cell_bytes(window, width, cell), key)
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return tuple(runs)


def _cell_bytes(window: Window, width: int, cell: int) -> tuple[int, int]:
    size = window.end - window.begin
    begin = window.begin + cell * size // width
    return begin, max(begin + 1, window.begin + (cell + 1) * size // width)


def _key_of_cell(memory_map: MemoryMap, begin: int, end: int, key: Key) -> str:
    shares: dict[str, int] = {}
    covered = 0
    for region in regions_between(memory_map, begin, end):
        part = min(end, region.end) - max(begin, region.begin)
        shares[key(region)] = shares.get(key(region), 0) + part
        covered += part
    shares[FREE] = end - begin - covered
    return max(shares, key=lambda name: shares[name])


def regions_between(memory_map: MemoryMap, begin: int, end: int) -> Sequence[Region]:
    """The regions with a byte in [begin, end)."""
    first = bisect_right(memory_map.regions, begin, key=lambda region: region.end)
    last = bisect_left(memory_map.regions, end, key=lambda region: region.begin)
    return memory_map.regions[first:last]


def cells_of(region: Region, width: int, window: Window) -> tuple[int, int] | None:
    """First cell and number of cells of a region in a bar of `width` cells; None when it is out of sight."""
    if not window.holds(region) or width <= 0:
        return None
    size = window.end - window.begin
    first = max(0, region.begin - window.begin) * width // size
    last = -(-min(size, region.end - window.begin) * width // size)
    return min(first, width - 1), max(1, last - first)


@dataclass(frozen=True, slots=True)
class Group:
    """Regions that belong together: those of a layer, or of a kind outside the layers."""

    title: str
    layer: int
    regions: tuple[Region, ...]

    @property
    def channel_bytes(self) -> int:
        """Bytes in each channel."""
        return sum(region.end - region.begin for region in self.regions)


def groups_of(regions: Sequence[Region], sort: str) -> tuple[Group, ...]:
    """Regions by layer, the others by kind, in the given order."""
    found: dict[tuple[int, str], list[Region]] = {}
    for region in regions:
        layer = region.source.layer
        title = f"layer {layer}" if layer >= 0 else region.kind
        found.setdefault((layer, title), []).append(region)
    groups = [Group(title, layer, tuple(members)) for (layer, title), members in found.items()]
    if sort == "size":
        groups.sort(key=lambda group: -group.channel_bytes)
    elif sort == "name":
        groups.sort(key=lambda group: (group.layer, group.title))
    return tuple(groups)


@dataclass(frozen=True, slots=True)
class ChannelUse:
    """How one channel of one device is used, in bytes: what holds elements by kind, padding, and what is free."""

    channel: int
    held: Mapping[str, int]
    padding: int
    free: int


def channel_uses(memory_map: MemoryMap, device: int) -> tuple[ChannelUse, ...]:
    """The use of every channel of a device."""
    found = []
    taken = sum(region.end - region.begin for region in memory_map.regions)
    for channel in range(memory_map.channels):
        held: dict[str, int] = {}
        for region in memory_map.regions:
            size = held_bytes(region, memory_map.dtype.itemsize, device, channel)
            held[region.kind] = held.get(region.kind, 0) + size
        padding = taken - sum(held.values())
        found.append(ChannelUse(channel, held, padding, memory_map.channel_bytes - taken))
    return tuple(found)
