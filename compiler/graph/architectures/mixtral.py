"""MixtralForCausalLM, Qwen3MoeForCausalLM and OlmoeForCausalLM: mixtures of experts.

Source: transformers.models.mixtral, qwen3_moe and olmoe.
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
from compiler.graph.architectures.qwen import qwen3
from compiler.graph.blocks import HeadNorm
from compiler.graph.decoder import Decoder, Layer


def mixtral(config: CheckpointConfig) -> Decoder:
    """A Mixtral."""
    experts = replace(
        read_experts(config, "intermediate_size", True), name="block_sparse_moe", gate="w1", up="w3", down="w2"
    )
    model = with_layers(llama_like(config, rms(config, 1e-5)), lambda _, layer: replace(layer, experts=experts))
    return with_windows(model, read_windows(config, model.layers, lambda _layer: True))


def qwen3_moe(config: CheckpointConfig) -> Decoder:
    """A Qwen3 whose layers are mixtures, but for those that `mlp_only_layers` or `decoder_sparse_step` leave dense."""
    experts = read_experts(config, "moe_intermediate_size", config.flag("norm_topk_prob", False))
    step = config.integer("decoder_sparse_step", 1, LAYER_LIMIT, 1)
    dense = config.fields.get("mlp_only_layers") or []
    if not isinstance(dense, list):
        raise UnsupportedModelError(f"config.json: mlp_only_layers is {str(dense)[:60]!r}; it must be a list of layers")

    def change(index: int, layer: Layer) -> Layer:
        return layer if index in dense or (index + 1) % step else replace(layer, experts=experts)

    return with_layers(qwen3(config), change)


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
    defaults={"num_key_value_heads": 4},
)
OLMOE = Architecture(
    name="OlmoeForCausalLM",
    example="allenai/OLMoE-1B-7B-0924",
    features=("mixture of experts", "norm of all query heads and of all key heads", "clip_qkv", GROUPED, ROPES),
    build=olmoe,
    missing="clip_qkv of more than twelve significant bits",
)
