"""MistralForCausalLM, MinistralForCausalLM and Ministral3ForCausalLM: Llama with a sliding window.

Source: transformers.models.mistral, ministral and ministral3.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import POSITION_LIMIT, CheckpointConfig
from compiler.checkpoint.generated import QueryScale
from compiler.graph.architectures.family import (
    GROUPED,
    ROPES,
    WINDOW,
    Architecture,
    llama_like,
    read_windows,
    rms,
    with_layers,
    with_windows,
)
from compiler.graph.decoder import Decoder


def mistral(config: CheckpointConfig) -> Decoder:
    """Every layer slides when `sliding_window` is set, unless `layer_types` says which."""
    model = llama_like(config, rms(config))
    return with_windows(model, read_windows(config, model.layers, lambda _layer: True))


def ministral3(config: CheckpointConfig) -> Decoder:
    """Queries grow with their position; without rope parameters it has those of the release."""
    model = llama_like(config, rms(config, 1e-5))
    table = CheckpointConfig(config.table("rope_scaling") or config.table("rope_parameters"))
    original = table.integer("original_max_position_embeddings", 1, POSITION_LIMIT)
    scale = QueryScale(table.number("llama_4_scaling_beta", 0.0, 1e3), original)
    model = with_layers(model, lambda _, layer: replace(layer, attention=replace(layer.attention, query_scale=scale)))
    all_alike = CheckpointConfig({**config.fields, "layer_types": None})
    return with_windows(model, read_windows(all_alike, model.layers, lambda _layer: True))


_YARN = {
    "rope_type": "yarn",
    "rope_theta": 1000000.0,
    "factor": 16.0,
    "original_max_position_embeddings": 16384,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
}

MISTRAL = Architecture(
    name="MistralForCausalLM",
    example="mistralai/Mistral-7B-v0.1",
    features=(WINDOW, GROUPED, ROPES),
    build=mistral,
    defaults={"num_key_value_heads": 8, "sliding_window": 4096},
)
MINISTRAL = Architecture(
    name="MinistralForCausalLM",
    example="mistralai/Ministral-8B-Instruct-2410",
    features=("sliding and full layers", GROUPED, ROPES),
    build=mistral,
    defaults={"num_key_value_heads": 8, "sliding_window": 4096},
)
MINISTRAL3 = Architecture(
    name="Ministral3ForCausalLM",
    example="mistralai/Ministral-3-8B-Base-2512",
    features=("queries scaled by position", WINDOW, GROUPED, ROPES),
    build=ministral3,
    defaults={"num_key_value_heads": 8, "head_dim": 128, "rope_theta": 1e6, "rope_parameters": _YARN},
)
