"""Models of text and images whose language model is one of ours: the language model alone, for text.

Source: transformers.models.gemma3, mistral3 and llava.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures.family import Architecture
from compiler.graph.architectures.gemma import GEMMA3
from compiler.graph.architectures.llama import LLAMA
from compiler.graph.architectures.mistral import MINISTRAL3, MISTRAL
from compiler.graph.architectures.qwen import QWEN2
from compiler.graph.decoder import Decoder
from compiler.graph.ir import Graph

_SIZES: dict[str, dict[str, int]] = {
    "gemma3_text": {"vocab_size": 262208, "num_attention_heads": 8, "max_position_embeddings": 131072},
    "llama": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
    },
    "mistral": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 131072,
    },
}
"""What a text_config leaves out where it has transformers' default."""


def _text_of(known: Mapping[str, Architecture], tied: bool) -> Callable[[CheckpointConfig], Decoder | Graph]:
    """The decoder that text_config describes; `known` by its model_type, the first one where that is missing."""

    def build(config: CheckpointConfig) -> Decoder | Graph:
        text = config.table("text_config")
        kind = text.get("model_type", next(iter(known)))
        row = known.get(kind) if isinstance(kind, str) else None
        if row is None:
            raise UnsupportedModelError(
                f"config.json: text_config.model_type is {str(kind)[:60]!r}; known are {', '.join(known)}"
            )
        tie = config.flag("tie_word_embeddings", tied)
        own = {**text, "architectures": [row.name], "tie_word_embeddings": tie}
        fields = {**row.defaults, **_SIZES.get(str(kind), {}), **own}
        made = row.build(CheckpointConfig(fields, "text_config of config.json"))
        assert isinstance(made, Decoder)
        return replace(made, root="language_model.model", head="language_model.lm_head")

    return build


def _wrapped(name: str, example: str, known: Mapping[str, Architecture], tied: bool) -> Architecture:
    return Architecture(
        name=name,
        example=example,
        features=(f"the language model: {' or '.join(row.name for row in known.values())}",),
        build=_text_of(known, tied),
        missing="images",
        beside=tuple(f"{root}{part}." for root in ("", "model.") for part in ("vision_tower", "multi_modal_projector")),
        renames=(
            ("language_model.model.", "model.language_model."),
            ("language_model.lm_head.", "lm_head."),
        ),
    )


GEMMA3_WRAPPED = _wrapped("Gemma3ForConditionalGeneration", "google/gemma-3-4b-it", {"gemma3_text": GEMMA3}, True)
LLAVA = _wrapped(
    "LlavaForConditionalGeneration",
    "llava-hf/llava-1.5-7b-hf",
    {"llama": LLAMA, "mistral": MISTRAL, "qwen2": QWEN2},
    False,
)
MISTRAL3 = _wrapped(
    "Mistral3ForConditionalGeneration",
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
    {"mistral": MISTRAL, "ministral3": MINISTRAL3},
    True,
)
