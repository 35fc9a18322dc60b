"""Glm4MoeForCausalLM, SolarOpenForCausalLM and Dots1ForCausalLM: experts chosen by sigmoid, with shared ones.

Source: transformers.models.glm4_moe, solar_open and dots1.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import LAYER_LIMIT, CheckpointConfig
from compiler.errors import UnsupportedModelError
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
from compiler.graph.architectures.mixtures import read_experts
from compiler.graph.blocks import FeedForward, HeadNorm
from compiler.graph.decoder import Decoder, Layer
from compiler.graph.experts import Experts


def glm4_moe(config: CheckpointConfig) -> Decoder:
    """GLM-4.5 to 4.7: half of each head rotates."""
    norm = HeadNorm(rms(config, 1e-5)) if config.flag("use_qk_norm", False) else None
    model = llama_like(config, rms(config, 1e-5), bias=config.flag("attention_bias", False), partial=0.5)
    return _sparse(config, model, norm, config.flag("norm_topk_prob", True))


def solar_open(config: CheckpointConfig) -> Decoder:
    """A Solar Open: every layer is a mixture."""
    sparse = {"intermediate_size": config.integer("moe_intermediate_size", default=1280), "first_k_dense_replace": 0}
    config = CheckpointConfig({**config.fields, **sparse})
    model = llama_like(config, rms(config, 1e-5), bias=config.flag("attention_bias", False), partial=1.0)
    return _sparse(config, model, None, config.flag("norm_topk_prob", True))


def dots1(config: CheckpointConfig) -> Decoder:
    """A dots.llm1: layers from `max_window_layers` on slide."""
    bias, norm = config.flag("attention_bias", False), rms(config)
    model = llama_like(config, norm, bias=bias, output_bias=bias)
    model = _sparse(config, model, HeadNorm(norm), config.flag("norm_topk_prob", False))
    first = config.integer("max_window_layers", 0, LAYER_LIMIT, 62)
    return with_windows(model, read_windows(config, model.layers, lambda layer: layer >= first))


def _sparse(config: CheckpointConfig, model: Decoder, head_norm: HeadNorm | None, normalised: bool) -> Decoder:
    """The first `first_k_dense_replace` layers are dense."""
    experts = sigmoid_experts(config, normalised, "n_shared_experts", 1.0)
    dense = config.integer("first_k_dense_replace", 0, LAYER_LIMIT, 0)

    def change(index: int, layer: Layer) -> Layer:
        block = replace(layer.attention, head_norm=head_norm)
        return replace(layer, attention=block, experts=None if index < dense else experts)

    return with_layers(model, change)


def sigmoid_experts(config: CheckpointConfig, normalised: bool, shared: str, scale: float) -> Experts:
    """Experts chosen by corrected sigmoids, and shared ones; names are DeepSeek's.

    Args:
        shared: the field with their number.
        scale: `routed_scaling_factor` where the config has none.

    Raises:
        UnsupportedModelError: experts are chosen by groups.
    """
    if config.integer("n_group", 1, 512, 1) != config.integer("topk_group", 1, 512, 1):
        raise UnsupportedModelError("config.json: n_group differs from topk_group; experts are chosen among all groups")
    experts = read_experts(config, "moe_intermediate_size", normalised)
    inner = experts.inner * config.integer(shared, 1, 64, 1)
    return replace(
        experts,
        scale=config.number("routed_scaling_factor", 1e-6, 1e6, scale),
        correction="gate.e_score_correction_bias",
        shared=FeedForward(inner, str(experts.act), name="mlp.shared_experts"),
    )


_MIXTURE = "mixture of experts chosen by sigmoid, shared experts, dense layers first"
_GROUPS = "experts chosen by groups"

GLM4_MOE = Architecture(
    name="Glm4MoeForCausalLM",
    example="zai-org/GLM-4.5-Air",
    features=(_MIXTURE, "norm of each query and key head", "partial rotary", GROUPED, ROPES),
    build=glm4_moe,
    missing=_GROUPS,
    beside=("model.layers.46.", "model.layers.92."),
    defaults={"num_key_value_heads": 8, "n_routed_experts": 128, "num_experts_per_tok": 8, "first_k_dense_replace": 1},
)
SOLAR_OPEN = Architecture(
    name="SolarOpenForCausalLM",
    example="upstage/Solar-Open-100B",
    features=("mixture of experts chosen by sigmoid, shared experts", GROUPED, ROPES),
    build=solar_open,
    missing=_GROUPS,
    defaults={
        "num_key_value_heads": 8,
        "head_dim": 128,
        "rope_theta": 1e6,
        "n_routed_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 1280,
    },
)
DOTS1 = Architecture(
    name="Dots1ForCausalLM",
    example="rednote-hilab/dots.llm1.inst",
    features=(_MIXTURE, "norm of each query and key head", "sliding and full layers", GROUPED, ROPES),
    build=dots1,
    missing=_GROUPS,
    defaults={"num_key_value_heads": 32, "sliding_window": 4096},
)
