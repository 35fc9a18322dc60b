"""GlmForCausalLM and Glm4ForCausalLM: half of each head rotates, interleaved; gate and up are fused.

Source: transformers.models.glm.modeling_glm, transformers.models.glm4.modeling_glm4.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import GROUPED, ROPES, Architecture, llama_like, rms, with_layers
from compiler.graph.decoder import Decoder, Layer
from compiler.isa.spec import RopeStyle


def glm(config: CheckpointConfig) -> Decoder:
    """GLM-4-9B as of 2024."""

    def change(_index: int, layer: Layer) -> Layer:
        block = replace(layer.attention, style=RopeStyle.INTERLEAVED)
        return replace(layer, attention=block, mlp=replace(layer.mlp, fused="gate_up_proj"))

    bias = config.flag("attention_bias", True)
    return with_layers(llama_like(config, rms(config, 1.5625e-07), bias=bias, partial=0.5), change)


def glm4(config: CheckpointConfig) -> Decoder:
    """GLM-4-0414: two more norms, behind the blocks."""
    return with_layers(
        glm(config),
        lambda _, layer: replace(layer, after_attention="post_self_attn_layernorm", after_mlp="post_mlp_layernorm"),
    )


_FEATURES = ("interleaved partial rotary", "fused gate-up", "attention biases", GROUPED, ROPES)
GLM = Architecture(
    name="GlmForCausalLM",
    example="zai-org/glm-4-9b-chat-hf",
    features=_FEATURES,
    build=glm,
    defaults={"num_key_value_heads": 2, "head_dim": 128},
)
GLM4 = Architecture(
    name="Glm4ForCausalLM",
    example="zai-org/GLM-4-9B-0414",
    features=("norms behind the blocks", *_FEATURES),
    build=glm4,
    defaults={"num_key_value_heads": 2, "head_dim": 128},
)
