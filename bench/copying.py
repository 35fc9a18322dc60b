"""Phases 2 and 3 against plain copies: time of the 1.3B shape, memory of 1.3B and 13B.

The yardstick is reading the checkpoint once and writing it twice with plain
chunked copies, measured in turn with the compile in the same run.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import Child, Row, median, run_child
from bench.shapes import OPT_1_3B, OPT_13B, Shape, write_checkpoint

CHUNK_BYTES = 1 << 20
ROUNDS = 3
TURNS = 2
"""Each turn in a round is done twice and the second one counts: page cache that a virtual machine has to get from its
host first makes the first one up to five times slower."""

RATIO_LIMIT = 3.0
MEMORY_LIMIT_BYTES = 400_000_000


def measure_time() -> list[Row]:
    """Wall time and memory of phases 2 and 3 of the 1.3B shape, one device."""
    copies, compiles, peaks = [], [], []
    with made_prefix(OPT_1_3B, None) as prefix:
        model = prefix / OPT_1_3B.name
        for _ in range(ROUNDS):
            copies.append([copy_twice(model / "ckpt" / "model.safetensors", prefix) for _ in range(TURNS)][-1])
            for _ in range(TURNS):
                child = compiled(prefix, OPT_1_3B, num_devices=1)
                _remove_results(model)
                peaks.append(child.peak_bytes)
            compiles.append(phase_seconds(child, 2, 3))
    copied_s, compiled_s, peak = median(copies), median(compiles), max(peaks)
    ratio = compiled_s / copied_s
    return [
        Row("OPT-1.3B shape: read once, write twice, plain copies", f"{copied_s:.2f} s"),
        Row("OPT-1.3B shape: phases 2 and 3, 1 device", f"{compiled_s:.2f} s"),
        Row("ratio of the two", f"{ratio:.2f}", f"{RATIO_LIMIT:.0f}", ratio <= RATIO_LIMIT),
        memory_row("OPT-1.3B shape: anonymous memory, phases 0-4", peak),
    ]


def measure_memory() -> list[Row]:
    """Memory of all phases of the 13B shape on two devices; 3 of its 40 layers carry data."""
    with made_prefix(OPT_13B, 3) as prefix:
        size = (prefix / OPT_13B.name / "ckpt" / "model.safetensors").stat().st_size
        free = shutil.disk_usage(prefix).free
        if free < 2.2 * size:
            return [Row("OPT-13B shape: anonymous memory", f"not measured: {free / 1e9:.0f} GB free")]
        child = compiled(prefix, OPT_13B, num_devices=2)
    return [
        Row("OPT-13B shape: phases 2 and 3, 2 devices", f"{phase_seconds(child, 2, 3):.1f} s"),
        memory_row("OPT-13B shape: anonymous memory, phases 0-4", child.peak_bytes),
    ]


def copy_twice(source: Path, folder: Path) -> float:
    """Seconds to read `source` once and write it twice into `folder`."""
    os.sync()
    began = time.perf_counter()
    targets = [folder / "copy-1", folder / "copy-2"]
    with source.open("rb") as reader, targets[0].open("wb") as first, targets[1].open("wb") as second:
        while chunk := reader.read(CHUNK_BYTES):
            first.write(chunk)
            second.write(chunk)
    seconds = time.perf_counter() - began
    for target in targets:
        target.unlink()
    return seconds


def _remove_results(model: Path) -> None:
    """Leave the checkpoint only, so that every round finds the same page cache."""
    for name in ("param", "inst"):
        shutil.rmtree(model / name)
    for name in ("hyperdex_model.bin", "hyperdex_config.json"):
        (model / "ckpt" / name).unlink()


def memory_row(name: str, peak_bytes: int) -> Row:
    """A row for anonymous memory."""
    limit = f"{MEMORY_LIMIT_BYTES / 1e6:.0f} MB"
    return Row(name, f"{peak_bytes / 1e6:.0f} MB", limit, peak_bytes < MEMORY_LIMIT_BYTES)


@contextmanager
def made_prefix(shape: Shape, filled_layers: int | None) -> Iterator[Path]:
    """A folder with the checkpoint of a shape."""
    with TemporaryDirectory(prefix="hyperdex-bench-") as folder:
        prefix = Path(folder)
        write_checkpoint(shape, prefix / shape.name / "ckpt", filled_layers)
        yield prefix


def compiled(prefix: Path, shape: Shape, num_devices: int) -> Child:
    """A compile in a process of its own."""
    os.sync()
    arguments = ["compile", shape.name, "--prefix", str(prefix), "--num-device", str(num_devices)]
    return run_child(["-m", "compiler", *arguments, "--offline", "--events"])


def phase_seconds(child: Child, first: int, last: int) -> float:
    """Seconds from the start of phase `first` to the end of phase `last`, by the compile's own events."""
    events = [json.loads(line) for line in child.stdout.splitlines()]
    began = next(e["seconds"] for e in events if e["event"] == "started" and e["phase"] == first)
    ended = next(e["seconds"] for e in events if e["event"] == "finished" and e["phase"] == last)
    return float(ended - began)
