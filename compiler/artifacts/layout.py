"""memory_map.json: the JSON form of a memory map, read strictly.

`MemoryMap` <-> bytes. A map that comes back from `memory_map_from_json` keeps
every rule that readers rely on: regions ascend, are disjoint, fit the channel
and hold their own elements.
"""

from __future__ import annotations

from compiler.dtypes import BUILD_DTYPES, build_dtype
from compiler.errors import ArtifactError
from compiler.memory_map import (
    BURST_BYTES,
    CHANNELS,
    LAYOUTS,
    MAX_DEVICES,
    REGION_KINDS,
    MemoryMap,
    Region,
    Segment,
)
from compiler.source import SourceRef
from compiler.strict_json import RECOMPILE, Fields, dump_object, load_object

FORMAT_VERSION = 1

_MAX_REGIONS = 100_000
_MAX_SEGMENTS = 1_000_000
_MAX_BYTES = 1 << 38  # an HBM operand is a 32-bit count of 64-byte bursts
_MAX_EXTENT = 1 << 32


def memory_map_to_json(memory_map: MemoryMap) -> bytes:
    """The content of memory_map.json; equal maps give equal bytes."""
    return dump_object(
        {
            "format_version": FORMAT_VERSION,
            "target": memory_map.target,
            "num_devices": memory_map.num_devices,
            "dtype": memory_map.dtype.name,
            "max_length": memory_map.max_length,
            "channels": memory_map.channels,
            "channel_bytes": memory_map.channel_bytes,
            "file_bytes": memory_map.file_bytes,
            "regions": [_region_to_json(region) for region in memory_map.regions],
        }
    )


def memory_map_from_json(content: bytes, where: str = "memory_map.json") -> MemoryMap:
    """Read what `memory_map_to_json` wrote.

    Raises:
        ArtifactError: not JSON, of a newer format, a field is missing, of the
            wrong type or out of range, or a region breaks a rule.
    """
    fields = load_object(content, where)
    check_format(fields, FORMAT_VERSION)
    fields.integer("channels", CHANNELS, CHANNELS)
    result = MemoryMap(
        target=fields.text("target", 100),
        num_devices=fields.integer("num_devices", 1, MAX_DEVICES),
        dtype=build_dtype(fields.choice("dtype", tuple(dtype.name for dtype in BUILD_DTYPES))),
        max_length=fields.integer("max_length", 1, _MAX_EXTENT),
        channel_bytes=fields.integer("channel_bytes", 0, _MAX_BYTES),
        file_bytes=fields.integer("file_bytes", 0, _MAX_BYTES),
        regions=tuple(_region_from_json(item) for item in fields.objects("regions", _MAX_REGIONS)),
    )
    check_memory_map(result, where)
    return result


def check_format(fields: Fields, newest: int) -> None:
    """Refuse a file of another format than the newest."""
    version = fields.integer("format_version", 1, 1 << 31)
    if version > newest:
        raise ArtifactError(f"{fields.where} has format {version}, newer than {newest}", "update this program")
    if version < newest:
        raise ArtifactError(f"{fields.where} has format {version}, this program reads {newest}", RECOMPILE)


def _region_to_json(region: Region) -> dict[str, object]:
    return {
        "name": region.name,
        "kind": region.kind,
        "begin": region.begin,
        "end": region.end,
        "layout": region.layout,
        "rows": region.rows,
        "cols": region.cols,
        "stride": region.stride,
        "heads": region.heads,
        "source": {"module": region.source.module, "tensor": region.source.tensor, "layer": region.source.layer},
        "segments": [
            {
                "device": part.device,
                "local_row": part.local_row,
                "local_col": part.local_col,
                "source_row": part.source_row,
                "source_col": part.source_col,
                "rows": part.rows,
                "cols": part.cols,
            }
            for part in region.segments
        ],
    }


def _region_from_json(item: Fields) -> Region:
    source = item.nested("source")
    return Region(
        name=item.text("name"),
        kind=item.choice("kind", REGION_KINDS),
        begin=item.integer("begin", 0, _MAX_BYTES),
        end=item.integer("end", 0, _MAX_BYTES),
        layout=item.choice("layout", LAYOUTS),
        rows=item.integer("rows", 1, _MAX_EXTENT),
        cols=item.integer("cols", 1, _MAX_EXTENT),
        stride=item.integer("stride", 0, _MAX_EXTENT),
        heads=item.integer("heads", 1, 1 << 16),
        source=SourceRef(source.text("module"), source.text("tensor"), source.integer("layer", -1, 1 << 20)),
        segments=tuple(_segment_from_json(part) for part in item.objects("segments", _MAX_SEGMENTS)),
    )


def _segment_from_json(item: Fields) -> Segment:
    return Segment(
        device=item.integer("device", 0, MAX_DEVICES - 1),
        local_row=item.integer("local_row", 0, _MAX_EXTENT),
        local_col=item.integer("local_col", 0, _MAX_EXTENT),
        source_row=item.integer("source_row", 0, _MAX_EXTENT),
        source_col=item.integer("source_col", 0, _MAX_EXTENT),
        rows=item.integer("rows", 1, _MAX_EXTENT),
        cols=item.integer("cols", 1, _MAX_EXTENT),
    )


def _check_region(region: Region, memory_map: MemoryMap) -> str:
    if region.begin % BURST_BYTES or region.end % BURST_BYTES or region.begin >= region.end:
        return f"[{region.begin}, {region.end}) is not a range of whole bursts"
    if region.end > memory_map.channel_bytes:
        return f"ends at {region.end}, behind the channel's {memory_map.channel_bytes} bytes"
    if region.is_parameter != (region.end <= memory_map.file_bytes) or region.is_parameter != (
        region.begin < memory_map.file_bytes
    ):
        return f"[{region.begin}, {region.end}) is on the wrong side of the parameters' end {memory_map.file_bytes}"
    if (region.end - region.begin) % (region.heads * BURST_BYTES):
        return f"{region.end - region.begin} bytes do not divide into {region.heads} heads of whole bursts"
    if (region.layout == "host") != (region.kind == "io"):
        return f"kind {region.kind} cannot have layout {region.layout}"
    if region.layout == "rows" and region.stride < region.cols:
        return f"stride {region.stride} is below its {region.cols} columns"
    used = region.used_bytes(memory_map.dtype.itemsize)
    if used > region.head_bytes:
        return f"needs {used} bytes per channel and head, has {region.head_bytes}"
    for part in region.segments:
        if (
            part.device >= memory_map.num_devices
            or part.local_row + part.rows > region.rows
            or part.local_col + part.cols > region.cols
        ):
            return f"{part} is outside its {region.rows} x {region.cols} elements on {memory_map.num_devices} devices"
    return ""


def check_memory_map(memory_map: MemoryMap, where: str) -> None:
    """Refuse a map that breaks a rule a reader relies on.

    Raises:
        ArtifactError: names the first region that is wrong.
    """
    end = 0
    names: set[str] = set()
    for region in memory_map.regions:
        wrong = _check_region(region, memory_map)
        if not wrong and region.begin < end:
            wrong = f"begins at {region.begin}, inside the region before, which ends at {end}"
        if not wrong and region.name in names:
            wrong = "appears twice"
        if wrong:
            raise ArtifactError(f"{where}: region {region.name!r} {wrong}", RECOMPILE)
        names.add(region.name)
        end = region.end
    if memory_map.file_bytes > memory_map.channel_bytes or memory_map.file_bytes % BURST_BYTES:
        raise ArtifactError(f"{where}: file_bytes {memory_map.file_bytes} does not fit the channel", RECOMPILE)
