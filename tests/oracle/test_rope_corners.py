"""Corners of rotary embedding in which a sequence's length or an odd field decides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from compiler.artifacts.reader import open_build
from compiler.emulator.debugger import Debugger, Reason
from compiler.emulator.machine import Machine
from compiler.emulator.session import SamplingParameters, Session
from compiler.errors import UnsupportedModelError
from compiler.pipeline import CompileOptions, compile_model
from compiler.workspace import Workspace
from tests.oracle.checkpoints import PROMPT, RECIPES, Recipe, greedy, write_checkpoint

BY_NAME = {recipe.name: recipe for recipe in RECIPES}
LLAMA_LONGROPE = Recipe(
    "llama-longrope",
    "llama",
    {
        "rope_parameters": {
            "rope_theta": 10000.0,
            "rope_type": "longrope",
            "short_factor": [1.0, 1.1, 1.3, 1.5, 1.8, 2.5],
            "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "original_max_position_embeddings": 32,
        }
    },
)


def _tokens(prefix: Path, prompt: tuple[int, ...], count: int, num_devices: int = 1) -> list[int]:
    workspace = Workspace(prefix)
    folder = workspace.model("t/m")
    options = CompileOptions(num_devices=num_devices, dtype="float32")
    build = compile_model(workspace, "t/m", options, lambda _record: None)
    session = Session(Machine(open_build(folder.param(build), folder.inst(build))))
    return [step.token_id for step in session.generate(prompt, count)]


@pytest.mark.parametrize(
    ("recipe", "length"),
    [
        *((LLAMA_LONGROPE, length) for length in (31, 32, 33, 40)),
        *((BY_NAME["phi3-longrope"], length) for length in (33, 40)),
    ],
    ids=str,
)
def test_longrope_rotates_a_long_prompt_by_its_long_factors_throughout(
    prefix: Path, recipe: Recipe, length: int
) -> None:
    folder = Workspace(prefix).model("t/m")
    write_checkpoint(recipe, folder.ckpt)
    prompt = tuple((7 * index + 3) % 90 + 3 for index in range(length))
    assert _tokens(prefix, prompt, 10, num_devices=3) == greedy(folder.ckpt, prompt, 10)


@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize("length", [1, 20, 32])
def test_phi3_makes_its_cache_anew_where_a_text_outgrows_the_short_factors(
    prefix: Path, length: int, window: int | None
) -> None:
    recipe = replace(BY_NAME["phi3-longrope"], config={**BY_NAME["phi3-longrope"].config, "sliding_window": window})
    folder = Workspace(prefix).model("t/m")
    write_checkpoint(recipe, folder.ckpt)
    prompt = tuple((7 * index + 3) % 90 + 3 for index in range(length))
    count = 40 - length
    assert _tokens(prefix, prompt, count, num_devices=2) == greedy(folder.ckpt, prompt, count)


def test_a_text_that_is_read_again_gives_the_same_on_every_path(prefix: Path) -> None:
    folder = Workspace(prefix).model("t/m")
    write_checkpoint(BY_NAME["phi3-longrope"], folder.ckpt)
    build = compile_model(
        Workspace(prefix), "t/m", CompileOptions(num_devices=2, dtype="float16"), lambda _record: None
    )
    opened = open_build(folder.param(build), folder.inst(build))
    sampled = SamplingParameters(do_sample=True, temperature=1.5, repetition_penalty=1.3, seed=5)
    texts = []
    for fast in (True, False):
        steps = list(Session(Machine(opened, fast=fast)).generate(PROMPT, 34, sampled, stop_ids=()))
        assert [step.position for step in steps] == list(range(len(PROMPT), len(PROMPT) + 34))
        texts.append([step.token_id for step in steps])
    debugger = Debugger(Machine(opened))
    debugger.start(PROMPT, 34, sampled, stop_ids=())
    assert debugger.run().reason == Reason.HALTED.value
    texts.append([token.token_id for token in debugger.tokens])
    assert texts[0] == texts[1] == texts[2]


ODD = {"rope_theta": 10000.0, "partial_rotary_factor": 0.25}


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("gpt-neox-odd", "gpt_neox", {"hidden_size": 48, "rope_parameters": {**ODD, "rope_type": "default"}}),
        Recipe("nemotron-odd", "nemotron", {"rope_parameters": {**ODD, "rope_type": "dynamic", "factor": 2.0}}),
        Recipe("glm-odd", "glm", {"head_dim": 12, "rope_parameters": {**ODD, "rope_type": "linear", "factor": 2.0}}),
    ],
    ids=str,
)
def test_an_odd_share_of_a_head_rotates_one_element_more_as_in_transformers(prefix: Path, recipe: Recipe) -> None:
    folder = Workspace(prefix).model("t/m")
    write_checkpoint(recipe, folder.ckpt)
    assert _tokens(prefix, PROMPT, 20, num_devices=2) == greedy(folder.ckpt, PROMPT, 20)


def test_a_family_that_rotates_whole_heads_ignores_a_partial_factor_as_transformers_does(prefix: Path) -> None:
    recipe = BY_NAME["llama"]
    folder = Workspace(prefix).model("t/m")
    write_checkpoint(recipe, folder.ckpt)
    path = folder.ckpt / "config.json"
    config = json.loads(path.read_text())
    config["rope_parameters"] = {**config["rope_parameters"], "partial_rotary_factor": 0.5}
    path.write_text(json.dumps(config))
    assert _tokens(prefix, PROMPT, 12) == greedy(folder.ckpt, PROMPT, 12)
    config["rope_parameters"] |= {"rope_type": "linear", "factor": 2.0}
    path.write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match=r"partial_rotary_factor 0\.5 with rope_type 'linear'"):
        _tokens(prefix, PROMPT, 12)
