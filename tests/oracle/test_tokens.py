"""The law of the whole: the emulated machine says what transformers says, for every device count.

float32 builds: exactly the greedy tokens. float16 builds: at every step a
token within float16 tolerance of transformers' best. Both: the same logits,
bit for bit, on 1, 2, 3 and 4 devices.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from compiler.artifacts.reader import open_build
from compiler.emulator.machine import Machine
from compiler.emulator.session import Session
from compiler.pipeline import CompileOptions, compile_model
from compiler.workspace import Workspace
from tests.oracle.checkpoints import (
    FAMILIES,
    HELD,
    MAX_LENGTH,
    OTHER_PROMPT,
    PROMPT,
    RECIPES,
    Recipe,
    architecture,
    greedy,
    load_reference,
    reference,
    write_checkpoint,
)

DEVICE_COUNTS = (1, 2, 3, 4)
Record = Callable[[str, object], None]
NEW_TOKENS = 20


class Run(NamedTuple):
    """Tokens and logits, float32 [tokens, vocabulary], of one build."""

    tokens: list[int]
    logits: np.ndarray[Any, np.dtype[np.float32]]


def _run(
    workspace: Workspace,
    recipe: Recipe,
    num_devices: int,
    dtype: str,
    prompt: tuple[int, ...] = PROMPT,
    count: int = NEW_TOKENS,
    **options: Any,
) -> Run:
    chosen = CompileOptions(num_devices=num_devices, dtype=dtype, offline=True, **options)
    build = compile_model(workspace, recipe.model_id, chosen, lambda _record: None)
    folder = workspace.model(recipe.model_id)
    session = Session(Machine(open_build(folder.param(build), folder.inst(build))))
    rows: list[Any] = []
    steps = list(session.generate(prompt, count, observer=lambda logits, _index: rows.append(logits)))
    return Run([step.token_id for step in steps], np.stack(rows))


EVERYDAY = [each if each in FAMILIES else pytest.param(each, marks=pytest.mark.slow) for each in RECIPES]


def assert_exact(recipe: Recipe, folder: Path, counts: tuple[int, ...], prompt: tuple[int, ...]) -> None:
    """The tokens are transformers' and the logits close to its; on every device count the same bits.

    Both sum the same float32 products in different orders: some hundred roundings of relative size 2**-24
    each, so 2**-14 of the largest logit is far more than they differ and far less than any mistake.
    """
    workspace = Workspace(folder)
    ckpt = workspace.model(recipe.model_id).ckpt
    if not ckpt.exists():
        write_checkpoint(recipe, ckpt)
    expected = reference(ckpt, prompt, NEW_TOKENS)
    runs = [_run(workspace, recipe, num_devices, "float32", prompt) for num_devices in counts]
    for num_devices, run in zip(counts, runs, strict=True):
        assert run.tokens == expected.tokens, f"{num_devices} devices"
        assert np.abs(run.logits - expected.logits).max() <= 2.0**-14 * np.abs(expected.logits).max()
        assert run.logits.tobytes() == runs[0].logits.tobytes(), f"{num_devices} devices"


@pytest.mark.parametrize("recipe", EVERYDAY, ids=str)
def test_float32_tokens_are_transformers_greedy_tokens(recipe: Recipe, tmp_path: Path, record_property: Record) -> None:
    record_property(HELD, [architecture(recipe), "float32", (1, 3)])
    assert_exact(recipe, tmp_path, (1, 3), PROMPT)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_every_device_count_and_prompt_gives_transformers_greedy_tokens(
    recipe: Recipe, tmp_path: Path, record_property: Record
) -> None:
    record_property(HELD, [architecture(recipe), "float32", DEVICE_COUNTS])
    for prompt in (PROMPT, OTHER_PROMPT):
        assert_exact(recipe, tmp_path, DEVICE_COUNTS, prompt)


@pytest.mark.parametrize("prompt", [(7,), tuple(range(3, 63))], ids=["one-token-prompt", "long-prompt"])
@pytest.mark.parametrize("recipe", [each for each in RECIPES if each.name in ("opt", "llama-yarn")], ids=str)
def test_a_text_may_fill_the_caches_to_the_last_token(recipe: Recipe, prompt: tuple[int, ...], tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    ckpt = workspace.model(recipe.model_id).ckpt
    write_checkpoint(recipe, ckpt)
    count = MAX_LENGTH - len(prompt)
    assert _run(workspace, recipe, 2, "float32", prompt, count).tokens == greedy(ckpt, prompt, count)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.slow
@pytest.mark.parametrize("recipe", FAMILIES, ids=str)
def test_half_precision_tokens_are_within_tolerance_of_the_best(
    recipe: Recipe, dtype: str, tmp_path: Path, record_property: Record
) -> None:
    record_property(HELD, [architecture(recipe), dtype, DEVICE_COUNTS])
    workspace = Workspace(tmp_path)
    ckpt = workspace.model(recipe.model_id).ckpt
    write_checkpoint(recipe, ckpt, dtype=dtype)
    runs = [_run(workspace, recipe, num_devices, dtype) for num_devices in DEVICE_COUNTS]
    for run in runs[1:]:
        assert run.tokens == runs[0].tokens
        assert run.logits.tobytes() == runs[0].logits.tobytes()
    _assert_near_best(ckpt, runs[0].tokens, half_ulp=2.0**-11 if dtype == "float16" else 2.0**-8)


def _assert_near_best(ckpt: Path, tokens: list[int], half_ulp: float) -> None:
    """Every token's logit, by float32 transformers on the same text, is close to the largest.

    A value passes at most 14 roundings in each of the two layers and 4 outside
    them; each adds at most half_ulp relative to the vector's magnitude. So no
    logit is off by more than 32 * half_ulp * max|logits|, and two can swap
    places when they differ by twice that.
    """
    import torch

    text = [*PROMPT, *tokens]
    with torch.no_grad():
        logits = load_reference(ckpt)(torch.tensor([text])).logits[0].numpy()
    for position, token in enumerate(tokens, start=len(PROMPT) - 1):
        row = logits[position]
        assert row.max() - row[token] <= 2 * 32 * half_ulp * np.abs(row).max()


@pytest.mark.parametrize("num_devices", [5, 8, 64])
@pytest.mark.parametrize("recipe", [each for each in RECIPES if each.name in ("opt-350m-like", "llama-mqa")], ids=str)
def test_more_devices_than_heads_change_nothing(recipe: Recipe, num_devices: int, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_checkpoint(recipe, workspace.model(recipe.model_id).ckpt, dtype="float16")
    assert _run(workspace, recipe, num_devices, "float16").logits.tobytes() == (
        _run(workspace, recipe, 1, "float16").logits.tobytes()
    )


@pytest.mark.parametrize("recipe", [each for each in RECIPES if each.name in ("opt", "llama-gqa")], ids=str)
def test_results_do_not_depend_on_reordering(recipe: Recipe, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_checkpoint(recipe, workspace.model(recipe.model_id).ckpt, dtype="float16")
    reordered = _run(workspace, recipe, 2, "float16")
    original = _run(workspace, recipe, 2, "float16", reorder=False)
    assert original.logits.tobytes() == reordered.logits.tobytes()


@pytest.mark.parametrize("recipe", [each for each in RECIPES if each.name in ("opt", "llama-gqa")], ids=str)
def test_unfused_float32_builds_give_the_same_tokens(recipe: Recipe, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    ckpt = workspace.model(recipe.model_id).ckpt
    write_checkpoint(recipe, ckpt)
    assert _run(workspace, recipe, 2, "float32", fusion=False).tokens == greedy(ckpt, PROMPT, NEW_TOKENS)
