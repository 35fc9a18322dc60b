"""Builds made by hand, so that the app can be tested without compiling."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path

from compiler.artifacts.manifest import FileEntry, Manifest
from compiler.artifacts.writer import write_inst_build, write_param_manifest
from compiler.checkpoint.small_files import hash_small_files
from compiler.debug_info import DebugInfo, Node, PassReport
from compiler.dtypes import FLOAT16
from compiler.isa.encode import Instruction, encode_program, instruction
from compiler.memory_map import MemoryMap, Region
from compiler.source import SourceRef
from compiler.workspace import ModelFolder, Workspace

LAYERS = 4
WEIGHT_BYTES = 4_000_000
"""Size of a build's weights: large enough that the screen does not tell the sizes of its manifests."""
MODEL = "example/tiny"
BUILD = "u55c-1x"


def make_model(prefix: Path, model_id: str = MODEL, build: str = BUILD, layers: int = LAYERS) -> ModelFolder:
    """Write checkpoint files and a build of `layers` decoder layers."""
    folder = Workspace(prefix).model(model_id)
    folder.ckpt.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "vocab_size": 512,
    }
    (folder.ckpt / "config.json").write_text(json.dumps(config))
    (folder.ckpt / "model.safetensors").write_bytes(bytes(2000))
    (folder.ckpt / "hyperdex_model.bin").write_bytes(bytes(2000))
    (folder.ckpt / "hyperdex_config.json").write_text(json.dumps({"fingerprint": "c" * 64}))
    manifest = Manifest("param", "0.1.0", model_id, "main", "u55c", 1, FLOAT16, 256, "f" * 64, "c" * 64)
    folder.param(build).mkdir(parents=True)
    write_param_manifest(folder.param(build), manifest, make_map(layers), ())
    (folder.param(build) / "weights.bin").write_bytes(bytes(WEIGHT_BYTES))
    folder.inst(build).mkdir(parents=True)
    instructions, debug = make_program(layers)
    inst = Manifest(
        "inst", "0.1.0", model_id, "main", "u55c", 1, FLOAT16, 256, "e" * 64, "c" * 64,
        vocab_size=512, architecture="LlamaForCausalLM", lmu_elements=4096, num_layers=layers,
        param_fingerprint="f" * 64,
        sources=tuple(FileEntry(*astuple(file)) for file in hash_small_files(folder.ckpt)),
    )  # fmt: skip
    write_inst_build(folder.inst(build), inst, encode_program(instructions), (), debug)
    return folder


def make_map(layers: int = LAYERS) -> MemoryMap:
    """Embedding, a weight and a norm per layer, one KV cache pair, io."""
    regions: list[Region] = []
    at = 0

    def add(name: str, kind: str, size: int, rows: int, cols: int, source: SourceRef, heads: int = 1) -> None:
        nonlocal at
        layout = {"io": "host", "embedding": "embed"}.get(kind, "rows")
        stride = cols if layout == "rows" else 0
        regions.append(Region(name, kind, at, at + size, layout, rows, cols, stride, heads, source))
        at += size

    add("embed", "embedding", 2048, 512, 64, SourceRef("model.embed_tokens", "model.embed_tokens.weight"))
    for layer in range(layers):
        base = f"model.layers.{layer}"
        tensor = f"{base}.self_attn.q_proj.weight"
        add(f"l{layer}.q", "weight", 256, 64, 64, SourceRef(f"{base}.self_attn.q_proj", tensor, layer))
        add(f"l{layer}.norm", "norm", 128, 1, 64, SourceRef(f"{base}.norm", f"{base}.norm.weight", layer))
    file_bytes = at
    for layer in range(layers):
        source = SourceRef(f"model.layers.{layer}.self_attn", "", layer)
        add(f"l{layer}.keys", "key", 1024, 256, 16, source, heads=4)
        add(f"l{layer}.values", "value", 1024, 16, 64, source, heads=4)
    add("host", "io", 256, 1, 4096, SourceRef())
    return MemoryMap("u55c", 1, FLOAT16, 256, 512 << 20, file_bytes, tuple(regions))


def make_program(layers: int = LAYERS) -> tuple[list[Instruction], DebugInfo]:
    """A prologue, `layers` times three instructions, a head, a loop."""
    regions = {region.name: region.begin for region in make_map(layers).regions}
    nodes: list[Node] = []
    program: list[Instruction] = []
    of_node: list[int] = []
    touched: list[str] = []

    def emit(node: int, region: str, mnemonic: str, **operands: float) -> None:
        program.append(instruction(mnemonic, **operands))
        of_node.append(node)
        touched.append(region)

    emit(-1, "", "li", dst=1, value=0)
    emit(-1, "host", "rd.host", dst=2, io=0)
    nodes.append(Node("embed", "embedding", SourceRef("model.embed_tokens", "model.embed_tokens.weight")))
    emit(0, "embed", "rd.embed", dst=0, hbm=regions["embed"], index=2, length=64, rows=512)
    for layer in range(layers):
        base = f"model.layers.{layer}"
        nodes.append(Node(f"norm{layer}", "rmsnorm", SourceRef(f"{base}.norm", f"{base}.norm.weight", layer)))
        tensor = f"{base}.self_attn.q_proj.weight"
        nodes.append(Node(f"q{layer}", "linear", SourceRef(f"{base}.self_attn.q_proj", tensor, layer)))
        norm, query = len(nodes) - 2, len(nodes) - 1
        name = f"l{layer}.norm"
        emit(norm, name, "rd.param", stream=2, hbm=regions[name], rows=1, cols=64, stride=64)
        emit(norm, "", "rmsnorm", dst=64, a=0, length=64, eps=1e-5, weight=2)
        name = f"l{layer}.q"
        emit(query, name, "rd.param", stream=3, hbm=regions[name], rows=64, cols=64, stride=64)
        emit(query, "", "mm", dst=128, src=64, stream=3, rows=64, cols=64)
    emit(-1, "", "sample", token=2, stop=3, src=128, length=64)
    emit(-1, "host", "wr.host", src=2, io=256, index=1)
    emit(-1, "", "bne", a=3, b=0, target=2)
    emit(-1, "", "hlt")
    passes = (PassReport("fusion", 40, 30),)
    return program, DebugInfo(tuple(nodes), tuple(of_node), tuple(touched), {"loop": 2}, (), passes)
