"""Ernie4_5ForCausalLM: Llama with interleaved rotation and optional biases.

Source: transformers.models.ernie4_5.modeling_ernie4_5.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import GROUPED, ROPES, Architecture, llama_like, rms, with_layers
from compiler.graph.decoder import Decoder
from compiler.isa.spec import RopeStyle


def ernie4_5(config: CheckpointConfig) -> Decoder:
    """A dense ERNIE 4.5."""
    bias = config.flag("use_bias", False)
    model = llama_like(config, rms(config, 1e-5), bias=bias, output_bias=bias, mlp_bias=bias, tied=True)
    return with_layers(
        model, lambda _, layer: replace(layer, attention=replace(layer.attention, style=RopeStyle.INTERLEAVED))
    )


ERNIE4_5 = Architecture(
    name="Ernie4_5ForCausalLM",
    example="baidu/ERNIE-4.5-0.3B-PT",
    features=("interleaved rotary", "biases", GROUPED, ROPES),
    build=ernie4_5,
    defaults={"num_key_value_heads": 2, "head_dim": 128, "rope_theta": 500000.0},
)
