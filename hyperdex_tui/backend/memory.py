"""The memory map of a build for a screen: regions sorted and filtered, totals by kind, a bar of cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compiler.artifacts.layout import memory_map_from_json
from compiler.artifacts.manifest import MEMORY_MAP
from compiler.errors import ArtifactError
from compiler.memory_map import REGION_KINDS, MemoryMap, Region
from compiler.strict_json import RECOMPILE

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


@dataclass(frozen=True, slots=True)
class KindTotal:
    """All regions of one kind; bytes of one device."""

    kind: str
    count: int
    bytes: int


def open_memory_map(folder: Path) -> MemoryMap:
    """Read the memory map of a parameter folder.

    Raises:
        ArtifactError: missing, damaged or of another version.
    """
    path = folder / MEMORY_MAP
    try:
        if path.stat().st_size > _MAP_LIMIT:
            raise ArtifactError(f"{path.name} is larger than {_MAP_LIMIT} bytes", RECOMPILE)
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path.name} cannot be read: {error.strerror}", RECOMPILE) from None
    return memory_map_from_json(content)


def device_bytes(memory_map: MemoryMap, region: Region) -> int:
    """Bytes a region takes on one device, over all channels."""
    return (region.end - region.begin) * memory_map.channels


def totals(memory_map: MemoryMap) -> tuple[KindTotal, ...]:
    """Totals of the kinds that occur, in the order of the table."""
    found = []
    for kind in REGION_KINDS:
        regions = [region for region in memory_map.regions if region.kind == kind]
        if regions:
            found.append(KindTotal(kind, len(regions), sum(device_bytes(memory_map, region) for region in regions)))
    return tuple(found)


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


def bar_runs(memory_map: MemoryMap, width: int) -> tuple[tuple[str, int], ...]:
    """The used part of a channel as `width` cells: (kind, cells) runs in address order.

    A cell shows the kind at its middle, so a region smaller than a cell may not appear.
    """
    end = memory_map.end
    if not end or width <= 0:
        return ((FREE, max(0, width)),)
    runs: list[tuple[str, int]] = []
    for cell in range(width):
        region = memory_map.region_at((2 * cell + 1) * end // (2 * width))
        kind = region.kind if region is not None else FREE
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1] + 1)
        else:
            runs.append((kind, 1))
    return tuple(runs)


def cells_of(memory_map: MemoryMap, region: Region, width: int) -> tuple[int, int]:
    """First cell and number of cells of a region in a bar of `width` cells; at least one."""
    end = max(1, memory_map.end)
    first = region.begin * width // end
    last = -(-region.end * width // end)
    return min(first, max(0, width - 1)), max(1, last - first)
