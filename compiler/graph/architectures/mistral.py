"""MistralForCausalLM and MinistralForCausalLM: Llama with a sliding window.

Source: transformers.models.mistral.modeling_mistral, transformers.models.ministral.modeling_ministral.
"""

from __future__ import annotations

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import (
    GROUPED,
    ROPES,
    WINDOW,
    Architecture,
    llama_like,
    read_windows,
    rms,
    with_windows,
)
from compiler.graph.decoder import Decoder


def mistral(config: CheckpointConfig) -> Decoder:
    """Every layer slides when `sliding_window` is set, unless `layer_types` says which."""
    model = llama_like(config, rms(config))
    return with_windows(model, read_windows(config, model.layers, lambda _layer: True))


MISTRAL = Architecture(
    name="MistralForCausalLM",
    example="mistralai/Mistral-7B-v0.1",
    features=(WINDOW, GROUPED, ROPES),
    build=mistral,
)
MINISTRAL = Architecture(
    name="MinistralForCausalLM",
    example="mistralai/Ministral-8B-Instruct-2410",
    features=("sliding and full layers", GROUPED, ROPES),
    build=mistral,
)
