"""The memory map verifier: a second algorithm that never asks the mapper.

`verify_map` checks geometry: no overlap, aligned, inside capacity, and that
the devices' shares put together are the whole tensor. `verify_contents`
reads elements back from channel contents and compares them with the source.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from compiler.dtypes import DType
from compiler.errors import VerificationError
from compiler.graph.ir import Cut, Graph, Parameter, Spread
from compiler.mapping.regions import parameter_of_region
from compiler.mapping.sources import Sources
from compiler.memory_map import BURST_BYTES, MemoryMap, Region
from compiler.rounding import Stored, cast, storage

ReadBytes = Callable[[int, int, int, int], bytes]
"""(device, channel, address, count) -> bytes of that channel."""

_SAMPLES = 12


def verify_map(memory_map: MemoryMap, graph: Graph) -> None:
    """Check geometry and completeness.

    Raises:
        VerificationError: naming the region and the rule.
    """
    _verify_geometry(memory_map)
    parameters = {parameter.name: parameter for parameter in graph.parameters}
    mapped = {parameter_of_region(region.name) for region in memory_map.regions}
    for name in parameters:
        if name not in mapped:
            raise VerificationError(f"memory map: parameter {name} of the model has no region")
    for region in memory_map.regions:
        if region.is_parameter:
            parameter = parameters.get(parameter_of_region(region.name))
            if parameter is None:
                raise VerificationError(f"memory map: region {region.name} is no parameter of the model")
            _verify_coverage(region, memory_map.num_devices, parameter)
    _verify_heads(memory_map, graph)


def _verify_geometry(memory_map: MemoryMap) -> None:
    itemsize = memory_map.dtype.itemsize
    address = 0
    for region in memory_map.regions:
        where = f"memory map: region {region.name}"
        if region.begin < address:
            raise VerificationError(f"{where} begins at {region.begin:#x}, inside the region before it")
        if region.begin % BURST_BYTES or region.end % BURST_BYTES or region.head_bytes % BURST_BYTES:
            raise VerificationError(f"{where} is not aligned to {BURST_BYTES} bytes")
        if region.end > memory_map.channel_bytes:
            raise VerificationError(f"{where} ends at {region.end:#x}, beyond the channel's {memory_map.channel_bytes}")
        if region.layout == "rows" and region.stride < region.cols:
            raise VerificationError(f"{where} has rows of {region.cols} elements every {region.stride}")
        if region.is_parameter != (region.end <= memory_map.file_bytes):
            raise VerificationError(f"{where} lies on the wrong side of the end of the parameters")
        for head in range(region.heads):
            size = 1 if region.layout == "host" else itemsize
            last = region.place(region.rows - 1, region.cols - 1, size, head).address + size
            limit = region.begin + (head + 1) * region.head_bytes
            if last > limit:
                raise VerificationError(f"{where}: its last element ends at {last:#x}, beyond {limit:#x}")
        address = region.end


def _verify_coverage(region: Region, num_devices: int, parameter: Parameter) -> None:
    """Each segment is inside, none share an element, and together they hold every element needed."""
    rows = parameter.cut.tensor_rows if parameter.cut else parameter.shape[0]
    cols = parameter.shape[1] if len(parameter.shape) == 2 else 1
    where = f"memory map: region {region.name}"
    taken: dict[int, list[tuple[int, int, int, int]]] = {}
    for part in region.segments:
        inside = part.local_row + part.rows <= region.rows and part.local_col + part.cols <= region.cols
        if not inside or part.source_row + part.rows > rows or part.source_col + part.cols > cols:
            raise VerificationError(f"{where}: a segment of device {part.device} leaves the region or the tensor")
        if not 0 <= part.device < num_devices:
            raise VerificationError(f"{where}: a segment is on device {part.device}")
        box = (part.local_row, part.local_row + part.rows, part.local_col, part.local_col + part.cols)
        for other in taken.setdefault(part.device, []):
            if box[0] < other[1] and other[0] < box[1] and box[2] < other[3] and other[2] < box[3]:
                raise VerificationError(f"{where}: two segments of device {part.device} share an element")
        taken[part.device].append(box)
    first, last = (parameter.first_row, parameter.first_row + region.rows) if region.layout == "embed" else (0, rows)
    by_rows = {(part.source_row, part.source_row + part.rows) for part in region.segments}
    by_cols = {(part.source_col, part.source_col + part.cols) for part in region.segments}
    if parameter.cut is not None:
        missing = _stray_row(by_rows, parameter.cut) if by_cols == {(0, cols)} else 0
    elif by_cols == {(0, cols)}:
        missing = _gap(by_rows, first, last)
    elif by_rows == {(first, last)}:
        missing = _gap(by_cols, 0, cols)
    else:
        raise VerificationError(f"{where} is cut in both directions")
    if missing is not None:
        raise VerificationError(f"{where}: source row or column {missing} is on no device, or does not belong there")


def _stray_row(spans: set[tuple[int, int]], cut: Cut) -> int | None:
    """The first row of a fused tensor that is held and should not be, or the other way round."""
    wanted = (np.arange(cut.tensor_rows) - cut.first) % cut.period < cut.count
    held = np.zeros_like(wanted)
    for begin, end in spans:
        held[begin:end] = True
    wrong = np.flatnonzero(held != wanted)
    return int(wrong[0]) if wrong.size else None


def _gap(spans: set[tuple[int, int]], first: int, last: int) -> int | None:
    """The first number in first..last that no span holds."""
    reached = first
    for begin, end in sorted(spans):
        if begin > reached:
            return reached
        reached = max(reached, end)
    return None if reached >= last else reached


def _verify_heads(memory_map: MemoryMap, graph: Graph) -> None:
    """On every device, each local query head finds the key and value head it needs in its own slot."""
    queries = {}
    for node in graph.nodes:
        if node.op == "linear" and graph.shapes[node.outputs[0]].spread is Spread.QUERY:
            queries[node.source.layer] = node.parameter("weight")
    for node in graph.nodes:
        if node.op == "linear" and graph.shapes[node.outputs[0]].spread is Spread.CACHE:
            _verify_slots(memory_map, graph, queries[node.source.layer], node.parameter("weight"))


def _verify_slots(memory_map: MemoryMap, graph: Graph, query_name: str, cache_name: str) -> None:
    heads, width = graph.heads, graph.heads.head_dim
    group = heads.num_attention_heads // heads.num_key_value_heads
    query, cache = memory_map.region(query_name), memory_map.region(cache_name)
    cuts = {name: graph.parameter(name).cut for name in (query_name, cache_name)}
    local_group = query.rows // cache.rows

    def head(region: Region, device: int, local: int) -> int | None:
        """The head of the model whose first row is first in a slot."""
        found = region.source_element(device, local * width, 0)
        cut = cuts[region.name]
        row = None if found is None else cut.parameter_row(found[0]) if cut else found[0]
        return row // width if row is not None and row % width == 0 else None

    for device in range(memory_map.num_devices):
        for local in range(query.rows // width):
            held = head(query, device, local)
            if held is not None and head(cache, device, local // local_group) != held // group:
                raise VerificationError(
                    f"memory map: {cache.name} on device {device}: query head {held} needs key/value head "
                    f"{held // group}, its slot holds {head(cache, device, local // local_group)}"
                )


def verify_contents(memory_map: MemoryMap, sources: Sources, read: ReadBytes) -> int:
    """Read elements of every parameter region back, corners and a random sample, on every device.

    Returns:
        How many elements were compared.

    Raises:
        VerificationError: an element differs from its source, or padding is not zero.
    """
    chosen = random.Random(0)
    origins = {region.name: sources.rows(region) for region in memory_map.regions if region.is_parameter}
    compared = 0
    for device in range(memory_map.num_devices):
        for region in memory_map.regions:
            if region.is_parameter:
                places = _sampled_places(region, chosen)
                _compare(memory_map, region, device, origins[region.name], places, read, sources.clamp)
                compared += len(places)
    return compared


def _sampled_places(region: Region, chosen: random.Random) -> list[tuple[int, int]]:
    places = {(0, 0), (region.rows - 1, region.cols - 1)}
    while len(places) < min(_SAMPLES, region.rows * region.cols):
        places.add((chosen.randrange(region.rows), chosen.randrange(region.cols)))
    return sorted(places)


def _compare(
    memory_map: MemoryMap,
    region: Region,
    device: int,
    source: tuple[Stored, DType],
    places: list[tuple[int, int]],
    read: ReadBytes,
    clamp: bool,
) -> None:
    rows, dtype = source
    itemsize = memory_map.dtype.itemsize
    for row, col in places:
        found = region.source_element(device, row, col)
        expected = np.zeros(1, storage(memory_map.dtype))
        if found is not None:
            element = np.ascontiguousarray(rows[found[0], found[1] : found[1] + 1])
            expected = cast(element, dtype, memory_map.dtype, clamp=clamp)
        place = region.place(row, col, itemsize)
        if read(device, place.channel, place.address, itemsize) != expected.tobytes():
            raise VerificationError(
                f"parameters: {region.name} [{row}, {col}] of device {device} at channel {place.channel}, "
                f"{place.address:#x} is not its source element {found}"
            )
