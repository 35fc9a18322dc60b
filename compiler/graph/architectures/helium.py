"""HeliumForCausalLM: Llama with interleaved rotation.

Source: transformers.models.helium.modeling_helium.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import GROUPED, ROPES, Architecture, llama_like, rms, with_layers
from compiler.graph.decoder import Decoder
from compiler.isa.spec import RopeStyle


def helium(config: CheckpointConfig) -> Decoder:
    """A Helium; its output projection never has a bias."""
    bias, mlp_bias = config.flag("attention_bias", False), config.flag("mlp_bias", False)
    return with_layers(
        llama_like(config, rms(config, 1e-8), bias=bias, mlp_bias=mlp_bias),
        lambda _, layer: replace(layer, attention=replace(layer.attention, style=RopeStyle.INTERLEAVED)),
    )


HELIUM = Architecture(
    name="HeliumForCausalLM",
    example="kyutai/helium-1-2b",
    features=("interleaved rotary", "attention and MLP biases", GROUPED, ROPES),
    build=helium,
    defaults={"num_key_value_heads": 20, "head_dim": 128, "rope_theta": 100000.0},
)
