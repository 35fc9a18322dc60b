"""Ernie4_5ForCausalLM and Ernie4_5_MoeForCausalLM: Llama with interleaved rotation and optional biases.

Source: transformers.models.ernie4_5 and ernie4_5_moe.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import LAYER_LIMIT, CheckpointConfig
from compiler.graph.architectures.family import GROUPED, ROPES, Architecture, llama_like, rms, with_layers
from compiler.graph.architectures.mixtures import read_experts
from compiler.graph.blocks import FeedForward
from compiler.graph.decoder import Decoder, Layer
from compiler.isa.spec import RopeStyle


def ernie4_5(config: CheckpointConfig) -> Decoder:
    """A dense ERNIE 4.5."""
    bias = config.flag("use_bias", False)
    model = llama_like(config, rms(config, 1e-5), bias=bias, output_bias=bias, mlp_bias=bias, tied=True)
    return with_layers(
        model, lambda _, layer: replace(layer, attention=replace(layer.attention, style=RopeStyle.INTERLEAVED))
    )


def ernie4_5_moe(config: CheckpointConfig) -> Decoder:
    """An ERNIE 4.5 with mixtures in some layers: chosen by corrected probabilities, with experts for every token."""
    names = {"num_experts": "moe_num_experts", "num_experts_per_tok": "moe_k"}
    given = {ours: config.fields.get(theirs) for ours, theirs in names.items()}
    experts = read_experts(CheckpointConfig({**config.fields, **given}), "moe_intermediate_size", True)
    shared = config.integer("moe_num_shared_experts", 0, 64, 2)
    network = FeedForward(
        experts.inner * shared, str(experts.act), config.flag("use_bias", False), name="mlp.shared_experts"
    )
    experts = replace(
        experts,
        correction="moe_statics.e_score_correction_bias",
        corrects="softmax",
        shared=network if shared else None,
    )
    model = replace(ernie4_5(config), head_bias=config.flag("use_bias", False))
    first, last = config.integer("moe_layer_start_index", 0, LAYER_LIMIT, 1), _last(config, model.layers)
    step = config.integer("moe_layer_interval", 1, LAYER_LIMIT, 1)

    def change(index: int, layer: Layer) -> Layer:
        sparse = first <= index <= last and (index + 1) % step == 0
        return replace(layer, experts=experts) if sparse else layer

    return with_layers(model, change)


def _last(config: CheckpointConfig, layers: int) -> int:
    """The last layer that may be a mixture; -1 is the last of all."""
    last = config.integer("moe_layer_end_index", -1, LAYER_LIMIT, -1)
    return layers - 1 if last == -1 else last


ERNIE4_5 = Architecture(
    name="Ernie4_5ForCausalLM",
    example="baidu/ERNIE-4.5-0.3B-PT",
    features=("interleaved rotary", "biases", GROUPED, ROPES),
    build=ernie4_5,
    defaults={"num_key_value_heads": 2, "head_dim": 128, "rope_theta": 500000.0},
)
ERNIE4_5_MOE = Architecture(
    name="Ernie4_5_MoeForCausalLM",
    example="baidu/ERNIE-4.5-21B-A3B-PT",
    features=("mixture of experts chosen by corrected probabilities, shared experts, dense layers", *ERNIE4_5.features),
    build=ernie4_5_moe,
    beside=("model.mtp_",),
    defaults={"num_key_value_heads": 4, "rope_theta": 500000.0, "moe_num_experts": 64, "moe_k": 6},
)
