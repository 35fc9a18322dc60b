"""MellumForCausalLM: a Qwen3 of mixtures whose sliding and full layers have ropes of their own.

Source: transformers.models.mellum.modeling_mellum.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.checkpoint.rope import read_rope
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures.family import (
    FULL,
    GROUPED,
    ROPES,
    SLIDING,
    Architecture,
    read_windows,
    with_layers,
    with_windows,
)
from compiler.graph.architectures.mixtures import read_experts, read_sparse
from compiler.graph.architectures.qwen import with_normed_heads
from compiler.graph.decoder import Decoder, Layer


def mellum(config: CheckpointConfig) -> Decoder:
    """A Mellum 2."""
    table = config.table("rope_parameters")
    if any(not isinstance(table.get(kind), dict) for kind in (FULL, SLIDING)):
        raise UnsupportedModelError(f"config.json: rope_parameters must have an object for {FULL} and for {SLIDING}")
    model = with_normed_heads(CheckpointConfig({**config.fields, "rope_parameters": table[FULL]}))
    windows = read_windows(config, model.layers, lambda _layer: False)
    ropes = {
        kind: read_rope(config, model.heads.head_dim, model.positions, 1e4, layer_type=kind) for kind in (FULL, SLIDING)
    }
    experts = read_experts(config, "moe_intermediate_size", config.flag("norm_topk_prob", True))
    sparse = read_sparse(config, model.layers, lambda _layer: True)

    def change(index: int, layer: Layer) -> Layer:
        block = replace(layer.attention, rope=ropes[SLIDING if windows[index] else FULL])
        return replace(layer, attention=block, experts=experts if sparse[index] else None)

    return with_windows(with_layers(model, change), windows)


MELLUM = Architecture(
    name="MellumForCausalLM",
    example="JetBrains/Mellum2-12B-A2.5B-Base",
    features=(
        "mixture of experts, dense layers between",
        "norm of each query and key head",
        "sliding and full layers with ropes of their own",
        GROUPED,
        ROPES,
    ),
    build=mellum,
    beside=("mtp.",),
    defaults={
        "num_key_value_heads": 4,
        "head_dim": 128,
        "intermediate_size": 7168,
        "num_local_experts": 64,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 896,
        "sliding_window": 1024,
        "rope_parameters": {
            FULL: {"rope_type": "default", "rope_theta": 500000.0},
            SLIDING: {"rope_type": "default", "rope_theta": 10000.0},
        },
    },
)
