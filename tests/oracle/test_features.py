"""Every feature that a config can switch off is heard: without it the machine says something else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.workspace import Workspace
from tests.oracle.checkpoints import MINISTRAL3_ROPE, RECIPES, Recipe, write_checkpoint
from tests.oracle.test_tokens import _run

BY_NAME = {recipe.name: recipe for recipe in RECIPES}
DEFAULT_ROPE = {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}}
FULL = ["full_attention"] * 6

SWITCHED_OFF: tuple[tuple[str, dict[str, Any]], ...] = (
    ("mistral", {"sliding_window": None}),
    ("ministral", {"layer_types": FULL}),
    ("qwen2-window", {"use_sliding_window": False}),
    ("phi3-window", {"sliding_window": None}),
    ("gemma2", {"layer_types": FULL}),
    ("gemma2", {"query_pre_attn_scalar": 12}),
    ("gemma2-caps", {"attn_logit_softcapping": None}),
    ("gemma3", {"layer_types": FULL}),
    ("olmo", {"clip_qkv": None}),
    ("olmo3", {"layer_types": FULL}),
    ("cohere2", {"layer_types": FULL}),
    ("exaone4", {"layer_types": FULL}),
    ("smollm3", {"no_rope_layers": [1, 1]}),
    ("smollm3-window", {"layer_types": FULL}),
    ("qwen3-moe-window", {"use_sliding_window": False}),
    ("granite", {"embedding_multiplier": 1.0}),
    ("granite", {"attention_multiplier": 1.0}),
    ("granite", {"residual_multiplier": 1.0}),
    ("llama-theta", {"rope_theta": 10000.0}),
    ("llama-linear", DEFAULT_ROPE),
    ("llama-yarn", DEFAULT_ROPE),
    ("llama-llama3", DEFAULT_ROPE),
    ("phi3-longrope", DEFAULT_ROPE),
    ("stablelm", {"rope_parameters": {"rope_theta": 10000.0, "partial_rotary_factor": 1.0}}),
    ("gpt2-by-layer", {"scale_attn_by_inverse_layer_idx": False}),
    ("gpt2-unscaled", {"scale_attn_weights": True}),
    ("gpt-neox-sequential", {"use_parallel_residual": True}),
    ("falcon-alibi-odd", {"alibi": False}),
    ("mixtral", {"num_experts_per_tok": 1}),
    ("mixtral-window", {"sliding_window": None}),
    ("cwm", {"layer_types": FULL}),
    ("cwm", DEFAULT_ROPE),
    ("glm4-moe", {"routed_scaling_factor": 1.0}),
    ("dots1", {"layer_types": FULL}),
    ("dots1-normalised", {"norm_topk_prob": False}),
    ("vaultgemma", {"layer_types": FULL}),
    ("hunyuan-alpha", DEFAULT_ROPE),
    ("gpt-neo", {"attention_types": [[["global", "global"], 1]]}),
    ("granitemoe", {"residual_multiplier": 1.0}),
    ("qwen2-moe", {"norm_topk_prob": True}),
    ("qwen2-moe-window", {"use_sliding_window": False}),
    ("olmoe-clip", {"clip_qkv": None}),
    ("gpt-oss", {"layer_types": FULL}),
    ("gpt-oss-limits", {"swiglu_limit": 7.0}),
    ("gpt-oss-limits", {"swiglu_alpha": 1.702}),
    ("ministral3-window", {"sliding_window": None}),
    ("ministral3", {"rope_parameters": {**MINISTRAL3_ROPE["rope_parameters"], "llama_4_scaling_beta": 0.0}}),
    ("olmoe-normalised", {"norm_topk_prob": False}),
    ("mpt-odd-heads", {"attn_config": {"clip_qkv": None, "softmax_scale": 1.5}}),
    ("mpt-odd-heads", {"attn_config": {"clip_qkv": 0.5, "softmax_scale": None}}),
)
MONOTONE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("granite", {"logits_scaling": 1.0}),
    ("hyperclovax", {"logits_scaling": 1.0}),
    ("cohere", {"logit_scale": 1.0}),
    ("gemma2-caps", {"final_logit_softcapping": None}),
    ("bloom-odd-heads", {"apply_residual_connection_post_layernorm": False}),
)
"""These keep the greatest logit the greatest, or the model says one token only: their logits are compared."""


def _both(name: str, change: dict[str, Any], folder: Path) -> tuple[Any, Any]:
    """The run of a recipe, and of the same weights under another config."""
    recipe, other = BY_NAME[name], Recipe("other", BY_NAME[name].family)
    workspace = Workspace(folder)
    ckpt, changed = workspace.model(recipe.model_id).ckpt, workspace.model(other.model_id).ckpt
    write_checkpoint(recipe, ckpt)
    shutil.copytree(ckpt, changed)
    path = changed / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    return _run(workspace, recipe, 1, "float32"), _run(workspace, other, 1, "float32")


@pytest.mark.parametrize(("name", "change"), SWITCHED_OFF, ids=lambda value: value if isinstance(value, str) else "")
def test_switching_a_feature_off_changes_the_tokens(name: str, change: dict[str, Any], tmp_path: Path) -> None:
    with_it, without = _both(name, change, tmp_path)
    assert with_it.tokens != without.tokens


@pytest.mark.parametrize(("name", "change"), MONOTONE, ids=lambda value: value if isinstance(value, str) else "")
def test_switching_a_monotone_feature_off_changes_the_logits(name: str, change: dict[str, Any], tmp_path: Path) -> None:
    with_it, without = _both(name, change, tmp_path)
    assert np.abs(with_it.logits[0] - without.logits[0]).max() > 0.01 * np.abs(with_it.logits[0]).max()
