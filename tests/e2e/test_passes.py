"""Laws of the passes on the machine: whatever passes ran, in whatever chunks vectors travel, the same float32 bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from compiler.artifacts.reader import open_build
from compiler.checkpoint.config import CheckpointConfig
from compiler.cli.main import main
from compiler.emulator.machine import Machine
from compiler.emulator.session import Session
from compiler.errors import UsageError
from compiler.graph.architectures import build_graph
from compiler.mapping.partition import Chunks
from compiler.pipeline import CompileOptions, compile_model
from compiler.planning import PASS_NAMES
from compiler.workspace import Workspace
from tests.tiny import WIDE, RandomTensors

MODEL_ID = "tiny/wide"
PROMPT = (5, 17, 100, 3, 41)


def _workspace(path: Path, name: str) -> Workspace:
    workspace = Workspace(path)
    ckpt = workspace.model(MODEL_ID).ckpt
    ckpt.mkdir(parents=True)
    graph = build_graph(CheckpointConfig(WIDE[name]))
    tensors = RandomTensors(graph)
    names = {tensor for parameter in graph.parameters for tensor, _ in parameter.tensors}
    save_file({each: np.ascontiguousarray(tensors.array(each)) for each in sorted(names)}, ckpt / "model.safetensors")
    (ckpt / "config.json").write_text(json.dumps({**WIDE[name], "eos_token_id": 2}))
    return workspace


def _logits(workspace: Workspace, fast: bool = True, **options: Any) -> bytes:
    chosen = CompileOptions(dtype="float32", offline=True, **options)
    build = compile_model(workspace, MODEL_ID, chosen, lambda _record: None)
    folder = workspace.model(MODEL_ID)
    session = Session(Machine(open_build(folder.param(build), folder.inst(build)), fast=fast))
    rows: list[bytes] = []
    list(session.generate(PROMPT, 3, stop_ids=(), observer=lambda logits, _index: rows.append(logits.tobytes())))
    return b"".join(rows)


@pytest.mark.parametrize("name", WIDE)
def test_chunks_change_no_bit_on_any_number_of_devices(tmp_path: Path, name: str) -> None:
    workspace = _workspace(tmp_path, name)
    expected = _logits(workspace, fusion=False, reorder=False)
    for num_devices, count in ((2, 2), (3, 3)):
        chunks = Chunks(tuple((width, count) for width in (140, 192, 301, 328, 768)), count)
        for fast in (True, False):
            assert _logits(workspace, fast, num_devices=num_devices, chunks=chunks) == expected, (num_devices, fast)


@pytest.mark.parametrize("left_out", PASS_NAMES)
def test_without_any_one_pass_the_bits_are_the_same(tmp_path: Path, left_out: str) -> None:
    workspace = _workspace(tmp_path, "llama")
    expected = _logits(workspace, num_devices=2)
    assert _logits(workspace, num_devices=2, without=(left_out,)) == expected
    folder = workspace.model(MODEL_ID)
    build = open_build(folder.param("u55c-2x-float32"), folder.inst("u55c-2x-float32"))
    names = [text.partition(" ")[0] for text in build.manifest.passes]
    dependent = {"overlap": {"chunk-transmit"}}.get(left_out, set())
    assert names == [name for name in PASS_NAMES if name not in {left_out, *dependent}]


def test_a_pass_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no pass 'fold'"):
        CompileOptions(without=("fold",)).passes()
    workspace = _workspace(tmp_path, "llama")
    assert main(["compile", MODEL_ID, "--prefix", str(workspace.prefix), "--offline", "--no-pass", "fold"]) == 2
