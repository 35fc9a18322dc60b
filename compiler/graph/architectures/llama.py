"""LlamaForCausalLM: RMS norm, rotary positions, grouped attention, gated MLP.

Source: transformers.models.llama.modeling_llama.LlamaForCausalLM.
"""

from __future__ import annotations

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import GROUPED, ROPES, Architecture, llama_like, rms
from compiler.graph.decoder import Decoder


def llama(config: CheckpointConfig) -> Decoder:
    """A Llama."""
    bias = config.flag("attention_bias", False)
    return llama_like(config, rms(config), bias=bias, output_bias=bias, mlp_bias=config.flag("mlp_bias", False))


LLAMA = Architecture(
    name="LlamaForCausalLM",
    example="meta-llama/Llama-3.2-1B",
    features=(GROUPED, ROPES, "tied or untied head", "attention and MLP biases", "head_dim of its own"),
    build=llama,
)
