"""Texts far beyond the attention window: only the last tokens are read, and transformers' tokens come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compiler.artifacts.reader import open_build
from compiler.isa.encode import decode_program
from compiler.pipeline import CompileOptions, compile_model
from compiler.workspace import Workspace
from tests.oracle.checkpoints import HELD, RECIPES, Recipe, architecture, write_checkpoint
from tests.oracle.test_tokens import assert_exact

LENGTH = 160
PROMPT = tuple((7 * index * index + 3 * index) % 90 + 3 for index in range(101))
"""More than a block of prompt tokens, of which the last is beyond every window here."""

EVERYDAY = ("mistral", "gemma2-caps", "gemma3", "gpt-oss", "qwen2-window")
WINDOWED = (
    *(*EVERYDAY, "ministral", "starcoder2", "phi3-window", "olmo3", "gemma2", "cohere2", "exaone4", "smollm3-window"),
    *("mixtral-window", "qwen3-moe-window", "gpt-oss-limits", "ministral3-window", "dots1", "cwm", "vaultgemma"),
)

Record = Callable[[str, object], None]


def _long(recipe: Recipe, **fields: object) -> Recipe:
    return replace(recipe, config={**recipe.config, "max_position_embeddings": LENGTH, **fields})


@pytest.mark.parametrize(
    "recipe",
    [
        each if each.name in EVERYDAY else pytest.param(each, marks=pytest.mark.slow)
        for each in RECIPES
        if each.name in WINDOWED
    ],
    ids=str,
)
def test_a_text_far_beyond_its_window_is_transformers(recipe: Recipe, tmp_path: Path, record_property: Record) -> None:
    record_property(HELD, [architecture(recipe), "float32", (1, 2, 3)])
    assert_exact(_long(recipe), tmp_path, (1, 2, 3), PROMPT)
    workspace = Workspace(tmp_path)
    build = compile_model(workspace, recipe.model_id, CompileOptions(dtype="float32"), lambda _record: None)
    folder = workspace.model(recipe.model_id)
    program = decode_program(open_build(folder.param(build), folder.inst(build)).program_words.astype("<i4").tobytes())
    assert any(instr.mnemonic == "rd.kv" and instr.integer("last") for instr in program)


@pytest.mark.parametrize("window", [2, 33, 96, LENGTH - 32, LENGTH - 31])
def test_windows_of_all_widths_are_transformers(window: int, tmp_path: Path) -> None:
    """At the edges of what a stream can begin with, and as wide as the caches."""
    recipe = next(each for each in RECIPES if each.name == "mistral")
    write_checkpoint(_long(recipe, sliding_window=window), Workspace(tmp_path).model(recipe.model_id).ckpt)
    assert_exact(recipe, tmp_path, (1, 2), PROMPT)
