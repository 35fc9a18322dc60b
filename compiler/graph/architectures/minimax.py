"""MiniMaxM2ForCausalLM: a Mixtral whose experts are chosen by sigmoid, with norms of all queries and of all keys.

Source: transformers.models.minimax_m2.modeling_minimax_m2.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import (
    GROUPED,
    HEAD_DIM_LIMIT,
    ROPES,
    Architecture,
    llama_like,
    rms,
    with_layers,
)
from compiler.graph.architectures.mixtures import read_experts
from compiler.graph.blocks import HeadNorm
from compiler.graph.decoder import Decoder, Layer


def minimax_m2(config: CheckpointConfig) -> Decoder:
    """A MiniMax-M2; its releases say `rotary_dim` for the share of a head that rotates."""
    if config.fields.get("rotary_dim") is not None and config.fields.get("partial_rotary_factor") is None:
        lanes, width = config.integer("rotary_dim", 2, HEAD_DIM_LIMIT), config.integer("head_dim", 1, HEAD_DIM_LIMIT)
        config = CheckpointConfig({**config.fields, "partial_rotary_factor": lanes / width})
    norm = rms(config)
    experts = replace(
        read_experts(config, "intermediate_size", True),
        name="block_sparse_moe",
        gate="w1",
        up="w3",
        down="w2",
        correction="e_score_correction_bias",
    )

    def change(_index: int, layer: Layer) -> Layer:
        block = replace(layer.attention, head_norm=HeadNorm(norm, over="heads"))
        return replace(layer, attention=block, experts=experts)

    return with_layers(llama_like(config, norm, partial=1.0), change)


MINIMAX_M2 = Architecture(
    name="MiniMaxM2ForCausalLM",
    example="MiniMaxAI/MiniMax-M2",
    features=(
        "mixture of experts chosen by sigmoid",
        "norm of all query heads and of all key heads",
        "partial rotary",
        GROUPED,
        ROPES,
    ),
    build=minimax_m2,
    missing="FP8 weights (use a copy in bfloat16)",
    defaults={
        "num_key_value_heads": 8,
        "head_dim": 128,
        "rope_theta": 5e6,
        "num_local_experts": 256,
        "num_experts_per_tok": 8,
    },
)
