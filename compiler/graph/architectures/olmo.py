"""OlmoForCausalLM, Olmo2ForCausalLM, Olmo3ForCausalLM and FlexOlmoForCausalLM.

The first clips queries, keys and values and has norms without weights; the
others normalise behind each block, and queries and keys as whole vectors.

Source: transformers.models.olmo, olmo2, olmo3 and flex_olmo.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import (
    FULL,
    GROUPED,
    ROPES,
    SLIDING,
    Architecture,
    llama_like,
    read_clip,
    read_layer_ropes,
    read_windows,
    rms,
    with_layers,
    with_windows,
)
from compiler.graph.architectures.mixtures import read_experts
from compiler.graph.blocks import HeadNorm
from compiler.graph.builder import Norm
from compiler.graph.decoder import Decoder, Layer

_THETA = 500000.0
_PATTERN = 4  # of OLMo 3: every fourth layer sees everything


def olmo(config: CheckpointConfig) -> Decoder:
    """OLMo 1; OlmoLayerNorm has no weights and eps 1e-5."""
    bias, clip = config.flag("attention_bias", False), read_clip(config)
    model = llama_like(config, Norm("layernorm", 1e-5, weight=False), bias=bias, output_bias=bias)
    return with_layers(model, lambda _, layer: replace(layer, attention=replace(layer.attention, clip=clip)))


def olmo2(config: CheckpointConfig, eps: float = 1e-5) -> Decoder:
    """OLMo 2; `eps` is the norms' where the config has none."""
    bias, norm = config.flag("attention_bias", False), rms(config, eps)

    def change(_index: int, layer: Layer) -> Layer:
        return replace(
            layer,
            attention=replace(layer.attention, head_norm=HeadNorm(norm, over="heads")),
            before_attention="",
            after_attention="post_attention_layernorm",
            before_mlp="",
            after_mlp="post_feedforward_layernorm",
        )

    return with_layers(llama_like(config, norm, bias=bias, output_bias=bias), change)


def olmo3(config: CheckpointConfig) -> Decoder:
    """OLMo 3: three of four layers slide, and rope scaling is for the others."""
    model = olmo2(config)
    windows = read_windows(config, model.layers, lambda layer: (layer + 1) % _PATTERN != 0)
    ropes = read_layer_ropes(config, model, _THETA, "", _THETA)  # a rope_theta of its own is for the full layers only
    model = with_layers(
        model,
        lambda index, layer: replace(
            layer, attention=replace(layer.attention, rope=ropes[SLIDING if windows[index] else FULL])
        ),
    )
    return with_windows(model, windows)


def flex_olmo(config: CheckpointConfig) -> Decoder:
    """An OLMo 2 whose layers are mixtures of experts."""
    experts = read_experts(config, "intermediate_size", config.flag("norm_topk_prob", False))
    return with_layers(olmo2(config, 1e-6), lambda _, layer: replace(layer, experts=experts))


OLMO = Architecture(
    name="OlmoForCausalLM",
    example="allenai/OLMo-1B-hf",
    features=("clip_qkv", "norms without weights", GROUPED, ROPES),
    build=olmo,
)
OLMO2 = Architecture(
    name="Olmo2ForCausalLM",
    example="allenai/OLMo-2-0425-1B",
    features=("norm of all query heads and of all key heads", "norms behind the blocks", GROUPED, ROPES),
    build=olmo2,
)
OLMO3 = Architecture(
    name="Olmo3ForCausalLM",
    example="allenai/Olmo-3-1025-7B",
    features=("sliding and full layers with ropes of their own", *OLMO2.features),
    build=olmo3,
    defaults={"sliding_window": 4096, "rope_theta": _THETA},
)
FLEX_OLMO = Architecture(
    name="FlexOlmoForCausalLM",
    example="allenai/FlexOlmo-7x7B-1T",
    features=("mixture of experts", *OLMO2.features),
    build=flex_olmo,
    defaults={"num_experts": 7, "num_experts_per_tok": 5, "rope_theta": _THETA},
)
