"""MixtralForCausalLM, Qwen2Moe, Qwen3Moe and OlmoeForCausalLM: mixtures of experts.

Source: transformers.models.mixtral, qwen2_moe, qwen3_moe and olmoe.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import LAYER_LIMIT, CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures.family import (
    GROUPED,
    ROPES,
    WINDOW,
    Architecture,
    llama_like,
    read_clip,
    read_windows,
    rms,
    with_layers,
    with_windows,
)
from compiler.graph.architectures.mixtures import read_experts
from compiler.graph.architectures.qwen import with_normed_heads
from compiler.graph.blocks import FeedForward, HeadNorm
from compiler.graph.decoder import Decoder, Layer
from compiler.graph.experts import Experts


def mixtral(config: CheckpointConfig) -> Decoder:
    """A Mixtral."""
    experts = replace(
        read_experts(config, "intermediate_size", True), name="block_sparse_moe", gate="w1", up="w3", down="w2"
    )
    model = with_layers(llama_like(config, rms(config, 1e-5)), lambda _, layer: replace(layer, experts=experts))
    return with_windows(model, read_windows(config, model.layers, lambda _layer: True))


def qwen3_moe(config: CheckpointConfig) -> Decoder:
    """A Qwen3 whose layers are mixtures, but for some; where `use_sliding_window` is set, every layer slides."""
    experts = read_experts(config, "moe_intermediate_size", config.flag("norm_topk_prob", False))
    model = _sparse(config, with_normed_heads(config), experts)
    if not config.flag("use_sliding_window", False):
        return model
    return with_windows(model, read_windows(config, model.layers, lambda _layer: True))


def qwen2_moe(config: CheckpointConfig) -> Decoder:
    """A Qwen2 whose layers are mixtures, but for some, with a gated expert that runs for every token."""
    experts = read_experts(config, "moe_intermediate_size", config.flag("norm_topk_prob", False))
    shared = FeedForward(config.integer("shared_expert_intermediate_size"), str(experts.act), name="mlp.shared_expert")
    model = llama_like(config, rms(config), bias=config.flag("qkv_bias", True))
    model = _sparse(config, model, replace(experts, shared=shared, shared_gate="shared_expert_gate"))
    if not config.flag("use_sliding_window", False):
        return model
    first = config.integer("max_window_layers", 0, LAYER_LIMIT, 28)
    return with_windows(model, read_windows(config, model.layers, lambda layer: layer % 2 == 0 and layer < first))


def _sparse(config: CheckpointConfig, model: Decoder, experts: Experts) -> Decoder:
    """Mixtures in the layers that `mlp_only_layers` and `decoder_sparse_step` do not leave dense."""
    step = config.integer("decoder_sparse_step", 1, LAYER_LIMIT, 1)
    dense = config.fields.get("mlp_only_layers") or []
    if not isinstance(dense, list):
        raise UnsupportedModelError(f"config.json: mlp_only_layers is {str(dense)[:60]!r}; it must be a list of layers")

    def change(index: int, layer: Layer) -> Layer:
        return layer if index in dense or (index + 1) % step else replace(layer, experts=experts)

    return with_layers(model, change)


def olmoe(config: CheckpointConfig) -> Decoder:
    """An OLMoE: queries and keys are normalised as whole vectors."""
    experts = read_experts(config, "intermediate_size", config.flag("norm_topk_prob", False))
    bias, norm, clip = config.flag("attention_bias", False), rms(config, 1e-5), read_clip(config)

    def change(_index: int, layer: Layer) -> Layer:
        block = replace(layer.attention, head_norm=HeadNorm(norm, over="heads"), clip=clip)
        return replace(layer, attention=block, experts=experts)

    return with_layers(llama_like(config, norm, bias=bias, output_bias=bias), change)


MIXTRAL = Architecture(
    name="MixtralForCausalLM",
    example="mistralai/Mixtral-8x7B-v0.1",
    features=("mixture of experts", WINDOW, GROUPED, ROPES),
    build=mixtral,
    defaults={"num_key_value_heads": 8, "rope_theta": 1e6},
)
QWEN3_MOE = Architecture(
    name="Qwen3MoeForCausalLM",
    example="Qwen/Qwen3-30B-A3B",
    features=("mixture of experts, dense layers between", "norm of each query and key head", GROUPED, ROPES),
    build=qwen3_moe,
    defaults={"num_key_value_heads": 4, "sliding_window": 4096},
)
OLMOE = Architecture(
    name="OlmoeForCausalLM",
    example="allenai/OLMoE-1B-7B-0924",
    features=("mixture of experts", "norm of all query heads and of all key heads", "clip_qkv", GROUPED, ROPES),
    build=olmoe,
)
QWEN2_MOE = Architecture(
    name="Qwen2MoeForCausalLM",
    example="Qwen/Qwen1.5-MoE-A2.7B",
    features=("mixture of experts with a gated shared one", "query, key and value biases", GROUPED, ROPES),
    build=qwen2_moe,
    defaults={"num_key_value_heads": 16, "sliding_window": 4096},
)
