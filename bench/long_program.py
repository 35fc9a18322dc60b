"""A program of ten million instructions: that of the OPT-1.3B shape, repeated with layers and names of its own.

Addresses move on from repeat to repeat, so that words repeat no more than in a
program that is really that long; debug information grows with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.shapes import OPT_1_3B
from compiler.artifacts.debug import pack_tables
from compiler.artifacts.manifest import Manifest, debug_file, program_file
from compiler.artifacts.writer import write_param_manifest
from compiler.debug_info import DebugInfo, Node
from compiler.dtypes import FLOAT16
from compiler.header import Payload, write_header
from compiler.isa.encode import encode_program
from compiler.isa.instructions import BY_OPCODE
from compiler.isa.spec import ISA_VERSION, WORD_COUNT, Kind
from compiler.planning import CompileOptions, make_plan, make_program
from compiler.workspace import ModelFolder, Workspace

MODEL = "bench/long"
BUILD = "lpu-3280-1x"
INSTRUCTIONS = 10_000_000
_STEP_UNITS = 4099
"""Bursts by which every address moves from one repeat to the next."""

Cells = NDArray[np.int32]


def write_long_program(prefix: Path, count: int = INSTRUCTIONS) -> ModelFolder:
    """Write the instruction folder of a build with `count` instructions, and manifests that go with it."""
    options = CompileOptions(num_devices=1, target="lpu-3280")
    plan = make_plan(OPT_1_3B.config(), options)
    program = make_program(plan, options)
    base = np.frombuffer(encode_program(program.instructions), "<u4").reshape(-1, WORD_COUNT)
    folder = Workspace(prefix).model(MODEL)
    inst = folder.inst(BUILD)
    inst.mkdir(parents=True)
    with (inst / program_file(1)).open("wb") as file:
        file.write(write_header(Payload.PROGRAM, ISA_VERSION))
        moved = _moving(base)
        for repeat in range(-(-count // len(base))):
            words = base.copy()
            words[moved, 1] += np.uint32(_STEP_UNITS * repeat % (1 << 31))
            file.write(words[: count - repeat * len(base)].tobytes())
    (inst / debug_file(1)).write_bytes(long_debug(program.debug, count, plan.graph.num_layers))
    param = folder.param(BUILD)
    param.mkdir(parents=True)
    described = Manifest("param", "0", MODEL, "main", "lpu-3280", 1, FLOAT16, 2048, "f" * 64, "c" * 64)
    write_param_manifest(param, described, plan.mapping.memory_map, ())
    manifest = Manifest(
        "inst", "0", MODEL, "main", "lpu-3280", 1, FLOAT16, 2048, "e" * 64, "c" * 64,
        vocab_size=50272, architecture="OPTForCausalLM", lmu_elements=plan.lmu_elements, num_layers=24,
        param_fingerprint="f" * 64,
    )  # fmt: skip
    (inst / "manifest.json").write_bytes(manifest.to_json())
    return folder


def _moving(words: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Rows whose second cell is an address."""
    opcodes = {
        opcode
        for opcode, spec in BY_OPCODE.items()
        if any(operand.kind is Kind.HBM and operand.word == 1 for operand in spec.operands)
    }
    return np.flatnonzero(np.isin(words[:, 0] & 0xFF, list(opcodes)))


def long_debug(base: DebugInfo, count: int, num_layers: int) -> bytes:
    """The debug information of `count` instructions that repeat those of `base`."""
    size, repeats = len(base.instruction_nodes), -(-count // len(base.instruction_nodes))
    numbers: dict[str, int] = {}
    nodes: list[tuple[int, ...]] = []
    for repeat in range(repeats):
        for node in base.nodes:
            texts, layer = _renamed(node, repeat, num_layers)
            nodes.append((*(numbers.setdefault(text, len(numbers)) for text in texts), layer))
    regions = {name: number for number, name in enumerate(dict.fromkeys(name for name in base.regions if name))}
    region_texts = [numbers.setdefault(name, len(numbers)) for name in regions]
    of_region = np.array([regions.get(name, -1) for name in base.regions], np.int32)
    of_node = np.array(base.instruction_nodes, np.int32)
    starts = np.arange(repeats, dtype=np.int32)[:, None]
    instruction_nodes = np.where(of_node >= 0, of_node + starts * len(base.nodes), -1).astype("<i4").reshape(-1)[:count]
    layer_of_node = np.array([node[-1] for node in nodes], np.int32)
    tables = {
        "instruction_nodes": instruction_nodes,
        "instruction_regions": np.tile(of_region, repeats)[:count],
        "nodes": np.array(nodes, np.int32).reshape(-1),
        "regions": np.array(region_texts, np.int32),
        "layers": _layers(instruction_nodes, layer_of_node, size),
        **dict.fromkeys(("labels", "values", "passes"), np.zeros(0, np.int32)),
    }
    return pack_tables(
        {name: cells.astype("<i4").tobytes() for name, cells in tables.items()}, [text.encode() for text in numbers]
    )


def _renamed(node: Node, repeat: int, num_layers: int) -> tuple[tuple[str, ...], int]:
    """The texts of a node and its layer in one repeat."""
    source = node.source
    layer = source.layer + repeat * num_layers if source.layer >= 0 else -1
    old, new = f".{source.layer}.", f".{layer}."
    texts = (node.name.replace(old, new), node.op, source.module.replace(old, new), source.tensor.replace(old, new))
    return texts, layer


def _layers(instruction_nodes: Cells, layer_of_node: Cells, size: int) -> Cells:
    """Where layers begin, by the rule of `debug_info.layer_begins`."""
    layers = np.where(instruction_nodes >= 0, layer_of_node[instruction_nodes], -1)
    newest = np.maximum.accumulate(layers)
    begins = np.flatnonzero(np.diff(newest, prepend=-1) > 0)
    found = [(0, -1), *((int(pc), int(layers[pc])) for pc in begins)]
    last = int(np.flatnonzero(layers >= 0)[-1]) + 1 if len(begins) else len(layers)
    if last < len(layers):
        found.append((last, -1))
    return np.array(found, np.int32).reshape(-1)
