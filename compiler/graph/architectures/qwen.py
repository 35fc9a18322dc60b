"""Qwen2ForCausalLM and Qwen3ForCausalLM: Llama with biases, or with norms, on query and key.

Source: transformers.models.qwen2.modeling_qwen2, transformers.models.qwen3.modeling_qwen3.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import LAYER_LIMIT, CheckpointConfig
from compiler.graph.architectures.family import (
    GROUPED,
    ROPES,
    Architecture,
    llama_like,
    read_windows,
    rms,
    with_layers,
    with_windows,
)
from compiler.graph.blocks import HeadNorm
from compiler.graph.decoder import Decoder


def _windowed(config: CheckpointConfig, model: Decoder) -> Decoder:
    """Layers from `max_window_layers` on slide, where `use_sliding_window` is set."""
    if not config.flag("use_sliding_window", False):
        return model
    first = config.integer("max_window_layers", 0, LAYER_LIMIT, 28)
    return with_windows(model, read_windows(config, model.layers, lambda layer: layer >= first))


def qwen2(config: CheckpointConfig) -> Decoder:
    """Biases on query, key and value only."""
    return _windowed(config, llama_like(config, rms(config), bias=True))


def qwen3(config: CheckpointConfig) -> Decoder:
    """A norm on every query and key head."""
    return _windowed(config, with_normed_heads(config))


def with_normed_heads(config: CheckpointConfig) -> Decoder:
    """Qwen3 without its windows."""
    bias = config.flag("attention_bias", False)
    norm = HeadNorm(rms(config))
    model = llama_like(config, rms(config), bias=bias, output_bias=bias)
    return with_layers(model, lambda _, layer: replace(layer, attention=replace(layer.attention, head_norm=norm)))


QWEN2 = Architecture(
    name="Qwen2ForCausalLM",
    example="Qwen/Qwen2.5-0.5B",
    features=("query, key and value biases", "sliding window from a layer on", GROUPED, ROPES),
    build=qwen2,
    defaults={"num_key_value_heads": 32},
)
QWEN3 = Architecture(
    name="Qwen3ForCausalLM",
    example="Qwen/Qwen3-0.6B",
    features=("norm of each query and key head", "head_dim of its own", GROUPED, ROPES),
    build=qwen3,
    defaults={"num_key_value_heads": 32, "head_dim": 128},
)
