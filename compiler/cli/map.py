"""`hyperdex map`: which tensor lies where in the memory of the devices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli.answer import answer, json_option
from compiler.cli.options import build_option, examples, model_argument, prefix_option
from compiler.cli.selection import open_workspace, select_build
from compiler.errors import UsageError
from compiler.quantity import counted, percent_text
from compiler.sanitize import printable

if TYPE_CHECKING:
    from compiler.memory_map import MemoryMap, Region


@click.command(
    name="map",
    epilog=examples("hyperdex map hyperdex/demo", "hyperdex map hyperdex/demo --device 1 --channel 0 --json"),
)
@model_argument
@prefix_option
@build_option
@click.option("--device", type=int, metavar="D", help="Show which part of each tensor this device holds, from 0.")
@click.option("--channel", type=int, metavar="C", help="Only regions with data in this channel, from 0.")
@json_option("One JSON object with every region.")
def command(
    model_id: str, prefix: Path | None, build: str | None, device: int | None, channel: int | None, as_json: bool
) -> None:
    """List what lies where in the memory of MODEL_ID's devices: its regions by address.

    Addresses are bytes within every channel of every device.
    """
    from compiler.artifacts.layout import memory_map_to_json
    from compiler.artifacts.reader import read_memory_map

    folder = open_workspace(prefix).model(model_id)
    name = select_build(folder, build)
    memory_map = read_memory_map(folder.param(name))
    _check_range("--device", device, memory_map.num_devices)
    _check_range("--channel", channel, memory_map.channels)
    regions = [region for region in memory_map.regions if channel is None or _reaches(region, channel)]
    if not as_json:
        click.echo("\n".join(_table(memory_map, regions, device)))
        return
    whole: dict[str, Any] = json.loads(memory_map_to_json(memory_map))
    kept = {region.name for region in regions}
    whole["regions"] = [_with_segments(entry, device) for entry in whole["regions"] if entry["name"] in kept]
    answer({"model_id": folder.model_id, "build": name, **whole})


def _check_range(option: str, value: int | None, count: int) -> None:
    if value is not None and not 0 <= value < count:
        raise UsageError(f"{option} {value} is not in 0..{count - 1}")


def _reaches(region: Region, channel: int) -> bool:
    """Whether any element of the region lies in the channel."""
    from compiler.memory_map import BURST_BYTES

    if region.layout == "rows":
        return channel < region.rows
    if region.layout == "embed":
        return channel < region.cols
    return channel * BURST_BYTES < region.cols


def _with_segments(entry: dict[str, Any], device: int | None) -> dict[str, Any]:
    if device is not None:
        entry["segments"] = [part for part in entry["segments"] if part["device"] == device]
    return entry


def _table(memory_map: MemoryMap, regions: list[Region], device: int | None) -> list[str]:
    used, capacity = memory_map.end, memory_map.channel_bytes
    channels = memory_map.channels
    lines = [
        f"{memory_map.target}, {counted(memory_map.num_devices, 'device')}, {memory_map.dtype}, "
        f"{memory_map.max_length} tokens: "
        f"{used * channels:,} of {capacity * channels:,} bytes per device "
        f"({percent_text(used, capacity)}), {memory_map.file_bytes * channels:,} of them parameters",
        f"{'begin':>12} {'end':>12} {'kind':<9} {'layout':<6} {'shape':>16}  tensor",
    ]
    for region in regions:
        heads = f"{region.heads}x" if region.heads > 1 else ""
        shape = f"{heads}{region.rows}x{region.cols}"
        source = printable(str(region.source) or region.name)
        part = "" if device is None else _part(region, device)
        lines.append(
            f"{region.begin:#12x} {region.end:#12x} {region.kind:<9} {region.layout:<6} {shape:>16}  {source}{part}"
        )
    return lines


def _part(region: Region, device: int) -> str:
    """The rectangles of the source tensor that `device` holds."""
    parts = [
        f"[{part.source_row}:{part.source_row + part.rows}, {part.source_col}:{part.source_col + part.cols}]"
        for part in region.segments
        if part.device == device
    ]
    shown = " ".join(parts[:4]) + (f" and {len(parts) - 4} more" if len(parts) > 4 else "")
    return f"  {shown}" if parts else ""
