"""A build is held against transformers; a damaged weight is found by name."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from compiler.artifacts.reader import open_build
from compiler.cli.reference import compare_with_transformers, reference_checks
from compiler.cli.stepped import Comparison
from compiler.cli.verify import verify_build
from compiler.demo import DEMO_MODEL_ID, install_demo
from compiler.header import HEADER_BYTES
from compiler.isa.encode import decode, encode, instruction
from compiler.isa.spec import INSTRUCTION_BYTES
from compiler.mapping.partition import AT_ONCE, Chunks
from compiler.pipeline import CompileOptions, compile_model
from compiler.workspace import ModelFolder, Workspace
from tests.oracle.checkpoints import RECIPES, write_checkpoint
from tests.sealed import sealed


def build_demo(
    prefix: Path,
    num_devices: int = 1,
    dtype: str = "float16",
    chunks: Chunks | None = None,
    without: tuple[str, ...] = (),
) -> tuple[ModelFolder, str]:
    """A build of the demo model."""
    workspace = Workspace(prefix)
    folder = workspace.model(DEMO_MODEL_ID)
    install_demo(folder.ckpt)
    options = CompileOptions(num_devices=num_devices, dtype=dtype, offline=True, chunks=chunks, without=without)
    return folder, compile_model(workspace, DEMO_MODEL_ID, options, lambda _record: None)


def damage(folder: ModelFolder, build: str, name: str, row: int, col: int) -> None:
    """Put another number in place of one weight of the first device, and make every hash right again."""
    param = folder.param(build)
    memory_map = json.loads((param / "memory_map.json").read_text())
    region = next(each for each in memory_map["regions"] if each["name"] == name)
    path = next(param.glob(f"param_*fpga_00_{row % 32:02x}.bin"))
    content = bytearray(path.read_bytes())
    at = HEADER_BYTES + region["begin"] + 2 * (row // 32 * region["stride"] + col)
    content[at : at + 2] = struct.pack("<e", 30.0)
    path.write_bytes(content)
    manifest = json.loads((param / "manifest.json").read_text())
    for entry in manifest["files"]:
        if entry["name"] == path.name:
            entry["sha256"] = hashlib.sha256(content).hexdigest()
    (param / "manifest.json").write_bytes(sealed(manifest))


@pytest.mark.parametrize(("num_devices", "dtype"), [(1, "float16"), (2, "bfloat16"), (1, "float32")])
def test_a_sound_build_agrees_with_transformers(tmp_path: Path, num_devices: int, dtype: str) -> None:
    outcome = compare_with_transformers(*build_demo(tmp_path, num_devices, dtype))
    assert outcome.diverged is None
    assert [each.what for each in outcome.layers] == ["layer 0", "layer 1", "layer 2", "layer 3", "logits"]
    assert all(each.difference <= each.tolerance / 3 for each in outcome.layers)
    assert outcome.results > 200


@pytest.mark.parametrize(
    "tensor",
    [
        "model.layers.1.mlp.down_proj.weight",
        "model.layers.2.self_attn.k_proj.weight",
        "model.layers.0.self_attn.v_proj.weight",
    ],
)
def test_a_damaged_weight_is_named(tmp_path: Path, tensor: str) -> None:
    folder, build = build_demo(tmp_path)
    damage(folder, build, tensor, row=5, col=3)
    assert all(check.passed for check in verify_build(folder, build))
    outcome = compare_with_transformers(folder, build)
    assert outcome.diverged is not None
    assert tensor in outcome.diverged.what
    assert "mm " in outcome.diverged.what
    assert not all(passed for _, passed, *_ in reference_checks(folder, build))


CHUNKED = (
    (2, Chunks(((352, 2),)), ("overlap",)),
    (2, Chunks(((352, 4), (128, 2))), ()),
    (4, Chunks(((352, 2),)), ()),
)


@pytest.mark.parametrize(("num_devices", "chunks", "without"), CHUNKED)
def test_chunks_are_put_together_before_they_are_compared(
    tmp_path: Path, num_devices: int, chunks: Chunks, without: tuple[str, ...]
) -> None:
    folder, build = build_demo(tmp_path, num_devices, chunks=chunks, without=without)
    sound = compare_with_transformers(folder, build)
    assert sound.diverged is None
    assert sound.results == compare_with_transformers(*build_demo(tmp_path)).results
    damage(folder, build, "model.layers.1.mlp.gate_proj.weight", row=40, col=3)
    outcome = compare_with_transformers(folder, build)
    assert outcome.diverged is not None
    assert "model.layers.1.mlp.gate_proj.weight" in outcome.diverged.what


@pytest.mark.parametrize(("name", "num_devices", "heads"), [("olmo2", 4, 1), ("llama", 2, 2), ("llama-mqa", 3, 1)])
def test_copies_and_chunks_of_heads_are_put_together_before_they_are_compared(
    tmp_path: Path, name: str, num_devices: int, heads: int
) -> None:
    workspace = Workspace(tmp_path)
    folder = workspace.model("test/model")
    write_checkpoint(next(each for each in RECIPES if each.name == name), folder.ckpt)
    found = []
    for chunks, count in ((AT_ONCE, 1), (Chunks(heads=heads), num_devices)):
        options = CompileOptions(num_devices=count, dtype="float32", offline=True, max_length=32, chunks=chunks)
        build = compile_model(workspace, folder.model_id, options, lambda _record: None)
        found.append(compare_with_transformers(folder, build))
    assert all(each.diverged is None for each in found), found
    assert found[0].results == found[1].results


def change_instruction(folder: ModelFolder, build: str, pc: int, **operands: float) -> None:
    """Put other operands into one instruction, and make every hash right again."""
    inst = folder.inst(build)
    path = inst / "inst_1fpga.bin"
    content = bytearray(path.read_bytes())
    at = HEADER_BYTES + pc * INSTRUCTION_BYTES
    found = decode(content[at : at + INSTRUCTION_BYTES])
    values = {each.name: value for each, value in zip(found.spec.operands, found.values, strict=True)}
    content[at : at + INSTRUCTION_BYTES] = encode(instruction(found.mnemonic, **{**values, **operands}))
    path.write_bytes(content)
    manifest = json.loads((inst / "manifest.json").read_text())
    for entry in manifest["files"]:
        if entry["name"] == path.name:
            entry["sha256"] = hashlib.sha256(content).hexdigest()
    (inst / "manifest.json").write_bytes(sealed(manifest))


@pytest.mark.parametrize(
    ("mnemonic", "which", "operands", "names"),
    [
        ("add.rmsnorm", 3, {"eps": 4.0}, ("add.rmsnorm",)),
        ("softmax", 6, {"scale": 0.5}, ("layers.1.self_attn",)),
        ("rmsnorm", 0, {"eps": 9.0}, ("rmsnorm", "layers.0.input_layernorm")),
    ],
)
def test_a_wrong_instruction_is_the_first_that_is_named(
    tmp_path: Path, mnemonic: str, which: int, operands: dict[str, float], names: tuple[str, ...]
) -> None:
    folder, name = build_demo(tmp_path)
    build = open_build(folder.param(name), folder.inst(name))
    program = [decode(word.tobytes()) for word in build.program_words.astype("<i4")]
    pc = [at for at, each in enumerate(program) if each.mnemonic == mnemonic][which]
    change_instruction(folder, name, pc, **operands)
    outcome = compare_with_transformers(folder, name)
    assert outcome.diverged is not None
    assert all(each in outcome.diverged.what for each in names)
    assert outcome.diverged.pc == pc or mnemonic == "softmax"


FAMILIES = ("falcon-alibi", "gemma2", "granitemoe", "gpt2", "bloom", "gpt-oss")


@pytest.mark.parametrize(
    "name", [pytest.param(each.name, marks=[] if each.name in FAMILIES else pytest.mark.slow) for each in RECIPES]
)
def test_a_sound_build_of_every_family_agrees_and_a_damaged_weight_is_named(tmp_path: Path, name: str) -> None:
    recipe = next(each for each in RECIPES if each.name == name)
    workspace = Workspace(tmp_path)
    folder = workspace.model(f"test/{name}")
    write_checkpoint(recipe, folder.ckpt)
    if (folder.ckpt.with_name("twin")).exists():
        pytest.skip("transformers reads it under another name")
    build = compile_model(workspace, folder.model_id, CompileOptions(offline=True, max_length=32), lambda _record: None)
    outcome = compare_with_transformers(folder, build)
    assert outcome.diverged is None
    assert all(each.passed for each in outcome.layers), [each for each in outcome.layers if not each.passed]
    regions = open_build(folder.param(build), folder.inst(build)).memory_map.regions
    region = next(each for each in regions if each.kind == "weight" and each.source.layer == 1 and each.rows > 5)
    damage(folder, build, region.name, row=5, col=3)
    outcome = compare_with_transformers(folder, build)
    assert outcome.diverged is not None
    assert str(region.source) in outcome.diverged.what


def test_what_is_not_a_number_is_no_agreement() -> None:
    assert not Comparison("x", float(np.nan), 1.0).passed


def test_a_layer_that_roundings_explain_passes_and_says_so() -> None:
    explained = Comparison("layer 2", 0.5, 0.1, magnified=True)
    assert explained.passed
    assert "each instruction is right" in explained.numbers
    assert not Comparison("layer 2", 0.5, 0.1).passed
    assert not Comparison("layer 2", float(np.nan), 0.1, magnified=True).passed
