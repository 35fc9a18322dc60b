"""A bench for hand-written programs: regions with data, a program, and the build they make on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler.artifacts.manifest import Manifest
from compiler.artifacts.reader import Build, open_build
from compiler.artifacts.writer import ParamWriter, write_inst_build, write_param_build
from compiler.debug_info import DebugInfo
from compiler.dtypes import FLOAT16, FLOAT32, DType
from compiler.emulator.machine import Machine
from compiler.isa.encode import encode_program
from compiler.isa.host import HostLayout
from compiler.isa.spec import INSTRUCTION_BYTES
from compiler.isa.tables import ActivationTable
from compiler.isa.text import parse_program
from compiler.memory_map import CHANNELS, MemoryMap, Region
from compiler.rounding import from_float32, round_to, storage

VOCAB = 40
MAX_LENGTH = 64


def burst_up(count: int) -> int:
    """`count` rounded up to whole bursts."""
    return -(-count // 64) * 64


class Bench:
    """Collects regions and their data, then builds and opens a machine."""

    def __init__(self, folder: Path, dtype: DType, num_devices: int) -> None:
        self.folder = folder
        self.dtype = dtype
        self.num_devices = num_devices
        self.end = 0
        self.regions: list[Region] = []
        self.channels: dict[str, list[np.ndarray]] = {}
        self.tables: tuple[ActivationTable, ...] = ()
        self.debug = DebugInfo()
        self.lmu_elements = 4096
        self.eos: tuple[int, ...] = (2,)

    def _add(self, region: Region) -> Region:
        self.regions.append(region)
        self.end = region.end
        return region

    def matrix(self, name: str, values: np.ndarray, kind: str = "weight") -> Region:
        """A region in layout rows; `values` is [rows, cols] for all devices or [devices, rows, cols]."""
        per_device = np.broadcast_to(values, (self.num_devices, *values.shape[-2:]))
        rows, cols = per_device.shape[1:]
        stride = cols
        slots = -(-rows // CHANNELS)
        size = burst_up(slots * stride * self.dtype.itemsize)
        stored = []
        for device in range(self.num_devices):
            padded = np.zeros((slots * CHANNELS, stride), np.float32)
            padded[:rows] = per_device[device]
            stored.append(padded.reshape(slots, CHANNELS, stride).transpose(1, 0, 2).reshape(CHANNELS, -1))
        self.channels[name] = stored
        return self._add(Region(name, kind, self.end, self.end + size, "rows", rows, cols, stride))

    def embedding(self, name: str, values: np.ndarray) -> Region:
        """A region in layout embed; `values` is [rows, cols]."""
        rows, cols = values.shape
        width = -(-cols // CHANNELS)
        padded = np.zeros((rows, width * CHANNELS), np.float32)
        padded[:, :cols] = values
        stored = padded.reshape(rows, width, CHANNELS).transpose(2, 0, 1).reshape(CHANNELS, -1)
        self.channels[name] = [stored] * self.num_devices
        size = burst_up(rows * width * self.dtype.itemsize)
        return self._add(Region(name, "embedding", self.end, self.end + size, "embed", rows, cols))

    def cache(self, name: str, kind: str, heads: int, head_dim: int) -> Region:
        """A key or value region of MAX_LENGTH tokens."""
        rows, cols = (MAX_LENGTH, head_dim) if kind == "key" else (head_dim, MAX_LENGTH)
        size = heads * burst_up(-(-rows // CHANNELS) * cols * self.dtype.itemsize)
        return self._add(Region(name, kind, self.end, self.end + size, "rows", rows, cols, cols, heads))

    def build(self, program: str | bytes) -> Build:
        """Write both folders and open them."""
        file_bytes = max((region.end for region in self.regions if region.is_parameter), default=0)
        memory_map = MemoryMap(
            "u55c", self.num_devices, self.dtype, MAX_LENGTH, 1 << 29, file_bytes, tuple(self.regions)
        )
        common = {
            "tool_version": "0",
            "model_id": "org/name",
            "revision": "main",
            "target": "u55c",
            "num_devices": self.num_devices,
            "dtype": self.dtype,
            "max_length": MAX_LENGTH,
            "checkpoint_fingerprint": "c",
        }
        param_dir, inst_dir = self.folder / "param" / "b", self.folder / "inst" / "b"
        for folder in (param_dir, inst_dir):
            folder.mkdir(parents=True)

        def fill(device: int, writer: ParamWriter) -> None:
            for region in self.regions:
                if region.is_parameter:
                    stored = from_float32(self.channels[region.name][device], self.dtype)
                    writer.write(region.begin, np.ascontiguousarray(stored.astype(storage(self.dtype))))

        param = write_param_build(param_dir, Manifest("param", fingerprint="p", **common), memory_map, fill)
        inst = Manifest(
            "inst",
            fingerprint="i",
            param_fingerprint=param.fingerprint,
            vocab_size=VOCAB,
            eos_token_ids=self.eos,
            architecture="TestForCausalLM",
            tables=tuple(f"table{index}" for index in range(len(self.tables))),
            lmu_elements=self.lmu_elements,
            num_layers=1,
            **common,
        )
        words = program if isinstance(program, bytes) else encode_program(parse_program(program))
        count = len(words) // INSTRUCTION_BYTES
        nodes = (*self.debug.instruction_nodes, *(-1,) * (count - len(self.debug.instruction_nodes)))
        regions = (*self.debug.regions, *("",) * (count - len(self.debug.regions)))
        debug = replace(self.debug, instruction_nodes=nodes, regions=regions)
        write_inst_build(inst_dir, inst, words, self.tables, debug)
        return open_build(param_dir, inst_dir, verify=True)

    def machine(self, program: str | bytes) -> Machine:
        """A machine for assembly text."""
        return Machine(self.build(program))

    def run(self, program: str, **vectors: Iterable[float]) -> Machine:
        """Run text to hlt; `v100=[...]` puts values at LMU element 100 of every device first."""
        machine = self.machine(program + "\nhlt\n")
        for name, values in vectors.items():
            poke(machine, int(name[1:]), values)
        machine.run(1000)
        assert machine.halted
        return machine

    def rounded(self, values: Iterable[float]) -> np.ndarray:
        """Float32 values rounded to the build's dtype."""
        return round_to(np.asarray(values, dtype=np.float32), self.dtype)


def poke(machine: Machine, at: int, values: Iterable[float], device: int | None = None) -> None:
    """Put values into the LMU of one device, or of all."""
    vector = np.asarray(values, dtype=np.float32)
    for index, lmu in enumerate(machine.state.lmu):
        if device is None or index == device:
            lmu[at : at + len(vector)] = vector
    machine.state.written[at : at + len(vector)] = True


BenchFactory = Callable[..., Bench]


@pytest.fixture
def new_bench(tmp_path: Path) -> BenchFactory:
    """Makes benches: new_bench(dtype=FLOAT32, num_devices=1)."""
    made = 0

    def make(dtype: DType = FLOAT32, num_devices: int = 1) -> Bench:
        nonlocal made
        made += 1
        return Bench(tmp_path / str(made), dtype, num_devices)

    return make


@pytest.fixture
def put() -> Callable[..., None]:
    """`poke`, for tests."""
    return poke


@pytest.fixture
def layout() -> HostLayout:
    """The host layout of every bench."""
    return HostLayout(MAX_LENGTH, VOCAB)


@pytest.fixture(params=[FLOAT32, FLOAT16], ids=str)
def bench(request: pytest.FixtureRequest, new_bench: BenchFactory) -> Bench:
    """A bench of one device, in float32 and in float16."""
    return new_bench(request.param)
