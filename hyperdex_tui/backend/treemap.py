"""The memory of a device as areas inside areas: groups, their regions, tiles of a region. Standard library only.

An area of the map is a node with a size; `parts_of` gives what it is divided into, in the order of addresses, and
`lay_out` where each part lies in a rectangle of cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from compiler.memory_map import CHANNELS, MemoryMap, Region
from hyperdex_tui.backend.cells import spot_at, tile_bytes
from hyperdex_tui.backend.memory import FREE, Group, device_bytes, groups_of

TILE_CELLS = (16, 3)
"""Width and height of the box of a tile, at least."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles [first, last) of a region: what one channel holds of 32 rows, or of one row of an embedding."""

    region: Region
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Several:
    """Neighbours that are too many or too small to be told apart at this size."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One area.

    Attributes:
        title: what it is called.
        bytes: on one device, over all channels.
        kind: of its regions; "" when there are several kinds.
        layer: -1 for none.
        holds: what it is; None for the whole device.
    """

    title: str
    bytes: int
    kind: str
    layer: int
    holds: Group | Region | Tiles | Several | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """Where a part lies, in cells."""

    part: Part
    x: int
    y: int
    width: int
    height: int


def whole(memory_map: MemoryMap) -> Part:
    """Everything that is used on a device."""
    return Part("device", memory_map.end * memory_map.channels, "", -1)


def parts_of(memory_map: MemoryMap, part: Part, most: int) -> tuple[Part, ...]:
    """What a part is divided into, at most `most` parts (4 or more); a single tile has bytes and no parts."""
    match part.holds:
        case None:
            found = [_of_group(memory_map, group) for group in groups_of(memory_map.regions, "address")]
        case Group():
            found = [_of_region(memory_map, region) for region in part.holds.regions]
        case Region():
            return _tiles(memory_map, Tiles(part.holds, 0, _tile_count(memory_map, part.holds)), most)
        case Tiles():
            return _tiles(memory_map, part.holds, most) if part.holds.last - part.holds.first > 1 else ()
        case Several():
            found = list(part.holds.parts)
    return _joined([each for each in found if each.bytes], most)


def _of_group(memory_map: MemoryMap, group: Group) -> Part:
    if len(group.regions) == 1:
        return _of_region(memory_map, group.regions[0])
    kinds = {region.kind for region in group.regions}
    kind = kinds.pop() if len(kinds) == 1 else ""
    return Part(group.title, group.channel_bytes * memory_map.channels, kind, group.layer, group)


def _of_region(memory_map: MemoryMap, region: Region) -> Part:
    layer = region.source.layer
    title = region.name.partition(f".{layer}.")[2] or region.name  # the layer is named by what is around it
    return Part(title, device_bytes(memory_map, region), region.kind, layer, region)


def _tile_count(memory_map: MemoryMap, region: Region) -> int:
    size = tile_bytes(region, memory_map.dtype)
    return max(1, -(-(region.end - region.begin) // size))


def _tiles(memory_map: MemoryMap, tiles: Tiles, most: int) -> tuple[Part, ...]:
    """Single tiles where they fit, else runs of equally many."""
    size = tile_bytes(tiles.region, memory_map.dtype)
    used = tiles.last
    if tiles.region.heads == 1:  # what lies behind the last element is one part
        used = -(-tiles.region.used_bytes(memory_map.dtype.itemsize) // size)
        used = min(used, tiles.last) if used > tiles.first else tiles.last
    each = max(1, -(-(used - tiles.first) // (most - (used < tiles.last))))
    runs = [(first, min(first + each, used)) for first in range(tiles.first, used, each)]
    found = []
    for first, last in [*runs, (used, tiles.last)]:
        begin, end = (min(tiles.region.begin + index * size, tiles.region.end) for index in (first, last))
        if end > begin:
            run = Tiles(tiles.region, first, last)
            title = tiles_title(memory_map, run)
            layer = tiles.region.source.layer
            found.append(Part(title, (end - begin) * memory_map.channels, tiles.region.kind, layer, run))
    return tuple(found)


def tiles_title(memory_map: MemoryMap, tiles: Tiles) -> str:
    """The rows that tiles hold on a device, e.g. `rows 96-127`; of a cache with the head before."""
    region, size = tiles.region, tile_bytes(tiles.region, memory_map.dtype)
    if region.layout == "host":
        return f"bytes {tiles.first * size:#x}"
    spots = [
        spot_at(region, memory_map.dtype, 0, 0, region.begin + index * size) for index in (tiles.first, tiles.last - 1)
    ]
    first, last = (spot.element for spot in spots)
    if first is None:
        return "padding"
    rows_each = CHANNELS if region.layout == "rows" else 1
    if last is None or last.head != first.head:
        return f"head {first.head} row {first.row} on"
    end = min(last.row + rows_each, region.rows) - 1
    rows = f"rows {first.row}-{end}" if end > first.row else f"row {first.row}"
    return f"head {first.head} {rows}" if region.heads > 1 else rows


def _joined(parts: Sequence[Part], most: int) -> tuple[Part, ...]:
    """The parts in order; where they are more than `most`, small neighbours go together."""
    runs = [[part] for part in parts]
    limit = sum(part.bytes for part in parts) / (4 * max(1, most))
    while len(runs) > max(1, most):
        runs, size, limit = [], 0, 2 * limit
        for part in parts:
            if runs and size + part.bytes <= limit:
                runs[-1].append(part)
                size += part.bytes
            else:
                runs.append([part])
                size = part.bytes
    if len(runs) == 1 < len(parts):  # one area alone would be this view again
        middle = _middle(parts)
        runs = [list(parts[:middle]), list(parts[middle:])]
    return tuple(run[0] if len(run) == 1 else _several(run) for run in runs)


def _several(parts: Sequence[Part]) -> Part:
    kinds, layers = {part.kind for part in parts}, {part.layer for part in parts}
    kind = kinds.pop() if len(kinds) == 1 else ""
    layer = layers.pop() if len(layers) == 1 else -1
    title = f"{parts[0].title} and {len(parts) - 1} more"
    return Part(title, sum(part.bytes for part in parts), kind, layer, Several(tuple(parts)))


def lay_out(parts: Sequence[Part], width: int, height: int) -> tuple[Box, ...]:
    """Boxes that cover `width` x `height` cells without overlapping, in order, by size; at least a cell each.

    The parts are cut in two runs of about equal size, the rectangle across its longer side, and so on: boxes stay
    in the order of addresses, and their shapes stay near squares (a cell is twice as high as it is wide).

    Raises:
        ValueError: more parts than cells.
    """
    if len(parts) > width * height:
        raise ValueError(f"{len(parts)} parts do not fit {width} x {height} cells")
    columns = min(width, max(1, width // TILE_CELLS[0]))
    if all(isinstance(part.holds, Tiles) for part in parts) and -(-len(parts) // columns) <= height:
        return tuple(_grid(parts, columns, width, height))
    return tuple(_boxes(parts, 0, 0, width, height))


def _grid(parts: Sequence[Part], columns: int, width: int, height: int) -> Iterator[Box]:
    """Boxes of equal size in rows, for tiles, which are alike; the last one takes what is left of its row."""
    rows = -(-len(parts) // columns)
    for index, part in enumerate(parts):
        row, column = divmod(index, columns)
        x, y = column * width // columns, row * height // rows
        end = width if index == len(parts) - 1 else (column + 1) * width // columns
        yield Box(part, x, y, end - x, (row + 1) * height // rows - y)


def _boxes(parts: Sequence[Part], x: int, y: int, width: int, height: int) -> list[Box]:
    if not parts:
        return []
    if len(parts) == 1:
        return [Box(parts[0], x, y, width, height)]
    across = width >= 2 * height if width > 1 and height > 1 else width > 1
    length, other = (width, height) if across else (height, width)
    middle = _middle(parts)
    share = sum(part.bytes for part in parts[:middle]) / max(1, sum(part.bytes for part in parts))
    least, most = -(-middle // other), length - -(-(len(parts) - middle) // other)
    if least > most:  # no cut of this length leaves a cell for everyone: cut the parts elsewhere
        middle = max(1, min(len(parts) - 1, (length // 2) * other))
        least, most = -(-middle // other), length - -(-(len(parts) - middle) // other)
    cut = max(least, min(most, round(length * share)))
    if across:
        return _boxes(parts[:middle], x, y, cut, height) + _boxes(parts[middle:], x + cut, y, width - cut, height)
    return _boxes(parts[:middle], x, y, width, cut) + _boxes(parts[middle:], x, y + cut, width, height - cut)


def _middle(parts: Sequence[Part]) -> int:
    """How many parts make about half of all bytes; one at least, and not all."""
    sums = list(accumulate(part.bytes for part in parts))
    return min(range(1, len(parts)), key=lambda count: abs(2 * sums[count - 1] - sums[-1]))


def look_of(part: Part) -> str:
    """The kind whose colour a part has: its own, or that of most of its bytes."""
    if part.kind:
        return part.kind
    shares: dict[str, int] = {}
    for kind, size in _kinds(part):
        shares[kind] = shares.get(kind, 0) + size
    return max(shares, key=lambda kind: shares[kind]) if shares else FREE


def _kinds(part: Part) -> list[tuple[str, int]]:
    match part.holds:
        case Group():
            return [(region.kind, region.end - region.begin) for region in part.holds.regions]
        case Several():
            return [pair for each in part.holds.parts for pair in _kinds(each)]
    return [(part.kind, part.bytes)] if part.kind else []


def neighbour(boxes: Sequence[Box], here: int, dx: int, dy: int) -> int:
    """The box next to box `here` in a direction: the one whose side lies beside its middle; `here` at the border."""
    box = boxes[here]
    x = box.x + box.width // 2 if dx == 0 else (box.x + box.width if dx > 0 else box.x - 1)
    y = box.y + box.height // 2 if dy == 0 else (box.y + box.height if dy > 0 else box.y - 1)
    return box_at(boxes, x, y) if box_at(boxes, x, y) >= 0 else here


def box_at(boxes: Sequence[Box], x: int, y: int) -> int:
    """The box that covers a cell, -1 for none."""
    for index, box in enumerate(boxes):
        if box.x <= x < box.x + box.width and box.y <= y < box.y + box.height:
            return index
    return -1
