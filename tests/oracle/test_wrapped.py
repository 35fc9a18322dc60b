"""Models of text and images: their language model says what transformers' whole model says to a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from compiler.checkpoint.config import CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures import build_graph
from compiler.workspace import Workspace
from tests.oracle.checkpoints import PROMPT, Recipe, fill_with_noise, quiet, search
from tests.oracle.test_tokens import _run

TEXT = {
    "vocab_size": 101,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 64,
    "eos_token_id": 2,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
PIXTRAL = {**VISION, "model_type": "pixtral", "head_dim": 8}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gemma3": ("gemma3", "gemma3_text", {"vision_config": VISION, "mm_tokens_per_image": 4, "window": 5}),
    "mistral3": ("mistral3", "mistral", {"vision_config": PIXTRAL, "window": 5}),
    "mistral3-untied": ("mistral3", "ministral3", {"vision_config": PIXTRAL, "tie_word_embeddings": False}),
    "llava": ("llava", "llama", {"vision_config": VISION}),
}


@pytest.mark.parametrize("new_names", [False, True], ids=["language_model.model", "model.language_model"])
@pytest.mark.parametrize("name", MODELS)
def test_the_language_model_of_a_wrapper_gives_transformers_greedy_tokens(
    name: str, new_names: bool, tmp_path: Path
) -> None:
    from transformers import AutoConfig, AutoModelForImageTextToText

    kind, text, more = MODELS[name]
    window = {"sliding_window": more["window"]} if "window" in more else {}
    rest = {key: value for key, value in more.items() if key != "window"}
    config = AutoConfig.for_model(kind, text_config={**TEXT, **window, "model_type": text}, **rest)
    model = AutoModelForImageTextToText.from_config(config, attn_implementation="eager")
    fill_with_noise(model, seed=1)
    recipe, workspace = Recipe(name, kind), Workspace(tmp_path)
    ckpt = workspace.model(recipe.model_id).ckpt
    with quiet():
        model.save_pretrained(ckpt)
    if new_names:
        _rename(ckpt / "model.safetensors")
    expected = search(model.eval(), PROMPT, 20)
    run = _run(workspace, recipe, 2, "float32")
    assert run.tokens[: len(expected.tokens)] == expected.tokens
    assert abs(run.logits[0] - expected.logits[0]).max() < 2.0**-14 * abs(expected.logits[0]).max()


def _rename(path: Path) -> None:
    """The names that transformers 5 uses in memory, and some checkpoints on disk."""
    old = {"language_model.model.": "model.language_model.", "language_model.lm_head.": "lm_head."}
    tensors = {}
    for name, tensor in load_file(path).items():
        begin = next((begin for begin in old if name.startswith(begin)), "")
        tensors[old[begin] + name.removeprefix(begin) if begin else f"model.{name}"] = tensor
    save_file(tensors, path, {"format": "pt"})


def test_a_wrapper_of_something_unknown_is_refused_naming_the_language_model() -> None:
    config = {"architectures": ["XForConditionalGeneration"], "text_config": {"model_type": "qwen2"}}
    with pytest.raises(UnsupportedModelError, match="wraps a language model of type 'qwen2'"):
        build_graph(CheckpointConfig(config))
    config = {"architectures": ["Mistral3ForConditionalGeneration"], "text_config": {"model_type": "mamba"}}
    with pytest.raises(UnsupportedModelError, match=r"text_config\.model_type is 'mamba'; known are mistral, min"):
        build_graph(CheckpointConfig(json.loads(json.dumps(config))))
