"""A head that config.json ties: what the checkpoint holds decides, as in transformers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compiler.artifacts.reader import open_build
from compiler.emulator.machine import Machine
from compiler.emulator.session import Session
from compiler.events import Message, Record
from compiler.pipeline import CompileOptions, compile_model
from compiler.workspace import Workspace
from tests.oracle.checkpoints import PROMPT, RECIPES, Recipe, greedy, write_checkpoint

UNTIED = [recipe for recipe in RECIPES if recipe.name in ("llama", "opt-untied", "llama-gqa", "opt")][:2]


@pytest.mark.parametrize("same", [True, False], ids=["same values", "own values"])
@pytest.mark.parametrize("recipe", UNTIED, ids=lambda recipe: recipe.name)
def test_a_stored_head_counts_only_when_its_values_differ(prefix: Path, recipe: Recipe, same: bool) -> None:
    workspace = Workspace(prefix)
    folder = workspace.model("t/m")
    write_checkpoint(recipe, folder.ckpt)
    path = folder.ckpt / "model.safetensors"
    tensors = load_file(path)
    embedding = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    head = np.random.default_rng(0).standard_normal(tensors[embedding].shape).astype(tensors[embedding].dtype)
    tensors["lm_head.weight"] = tensors[embedding].copy() if same else head
    save_file(tensors, path, metadata={"format": "pt"})
    config = json.loads((folder.ckpt / "config.json").read_text())
    (folder.ckpt / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    records: list[Record] = []
    build = compile_model(workspace, "t/m", CompileOptions(num_devices=2, dtype="float32"), records.append)
    warned = [record.text for record in records if isinstance(record, Message) and record.level == "warning"]
    assert bool(warned) == (not same)
    regions = [region.name for region in open_build(folder.param(build), folder.inst(build)).memory_map.regions]
    assert ("lm_head.weight" in regions) == (not same)
    session = Session(Machine(open_build(folder.param(build), folder.inst(build))))
    found = [step.token_id for step in session.generate(PROMPT, 12)]
    expected = greedy(folder.ckpt, PROMPT, 12)  # ends at the end-of-text token, which the session was told to ignore
    assert found[: len(expected)] == expected
