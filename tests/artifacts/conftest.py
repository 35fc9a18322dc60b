"""A small build on disk: two devices, one weight, one cache, one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiler.artifacts.manifest import Manifest
from compiler.artifacts.writer import write_inst_build, write_param_build
from compiler.debug_info import DebugInfo, LiveRange, Node, PassReport
from compiler.dtypes import FLOAT16
from compiler.isa.encode import encode_program
from compiler.isa.tables import ActivationTable
from compiler.isa.text import parse_program
from compiler.memory_map import MemoryMap, Region, Segment
from compiler.source import SourceRef

SOURCE = SourceRef("model.head", "model.head.weight", -1)


def sample_map() -> MemoryMap:
    """70 x 48 weight in two halves, and a key cache of two heads."""
    parts = tuple(Segment(device, 0, 0, 35 * device, 0, 35, 48) for device in range(2))
    weight = Region("head", "weight", 64, 256, "rows", 35, 48, 48, source=SOURCE, segments=parts)
    keys = Region("k", "key", 256, 512, "rows", 64, 16, 16, heads=2)
    return MemoryMap("u55c", 2, FLOAT16, 64, 1 << 20, 256, (weight, keys))


def sample_tables() -> tuple[ActivationTable, ...]:
    """A ramp, and one with four segments."""
    ramp = np.array([[0, 1, 0, 0]], np.float32)
    cubics = np.arange(16, dtype=np.float32).reshape(4, 4)
    return (
        ActivationTable(0.0, 1.0, 0.0, 0.0, 0.0, 1.0, ramp),
        ActivationTable(-1.0, 1.0, 0.25, 0.0, 1.0, 0.0, cubics),
    )


def sample_debug() -> DebugInfo:
    """Two instructions, one with a node."""
    return DebugInfo(
        nodes=(Node("head", "linear", SOURCE),),
        instruction_nodes=(0, -1),
        regions=("head", ""),
        labels={"loop": 1},
        values=(LiveRange("x", 0, 64, 0, 1),),
        passes=(PassReport("fusion", 9, 5),),
    )


def write_build(root: Path, edit: Callable[[Manifest], Manifest] = lambda manifest: manifest) -> tuple[Path, Path]:
    """Write a sound build; `edit` changes the instruction manifest before it is written."""
    memory_map = sample_map()
    common = {
        "tool_version": "0.1.0",
        "model_id": "org/name",
        "revision": "main",
        "target": "u55c",
        "num_devices": 2,
        "dtype": FLOAT16,
        "max_length": 64,
        "checkpoint_fingerprint": "c0",
        "passes": ("fusion",),
    }
    param_dir, inst_dir = root / "param" / "u55c-2x", root / "inst" / "u55c-2x"
    for folder in (param_dir, inst_dir):
        folder.mkdir(parents=True)

    def fill(device: int, writer: object) -> None:
        writer.write(64, np.full((32, 90), device + 1, np.float16))

    write_param_build(param_dir, Manifest("param", fingerprint="p0", **common), memory_map, fill)
    inst = Manifest(
        "inst",
        fingerprint="i0",
        vocab_size=70,
        eos_token_ids=(2, 3),
        architecture="TestForCausalLM",
        tables=("ramp", "cubic"),
        lmu_elements=128,
        num_layers=1,
        param_fingerprint="p0",
        **common,
    )
    words = encode_program(parse_program("li r1, 3\nhlt\n"))
    write_inst_build(inst_dir, edit(inst), words, sample_tables(), sample_debug())
    return param_dir, inst_dir


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Parameter and instruction folder of a sound build."""
    return write_build(tmp_path)


@pytest.fixture
def writes_build() -> Callable[..., tuple[Path, Path]]:
    """`write_build`, for tests."""
    return write_build


@pytest.fixture
def memory_map() -> MemoryMap:
    """The sample map."""
    return sample_map()


@pytest.fixture
def tables() -> tuple[ActivationTable, ...]:
    """The sample tables."""
    return sample_tables()


@pytest.fixture
def debug() -> DebugInfo:
    """The sample debug information."""
    return sample_debug()
