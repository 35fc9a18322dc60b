"""GptOssForCausalLM: experts with biases and a clamped gate, attention with sinks, every other layer slides.

Source: transformers.models.gpt_oss.modeling_gpt_oss. Checkpoints in MXFP4 are refused by their quantization_config.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.activations import clip_width
from compiler.graph.architectures.family import (
    GROUPED,
    ROPES,
    Architecture,
    llama_like,
    read_clip,
    read_windows,
    rms,
    with_layers,
    with_windows,
)
from compiler.graph.architectures.mixtures import read_experts
from compiler.graph.decoder import Decoder, Layer
from compiler.graph.experts import ClampedSwiglu, Stack

_YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}


def gpt_oss(config: CheckpointConfig) -> Decoder:
    """A GPT-OSS without quantisation."""
    bias, limit = config.flag("attention_bias", True), read_clip(config, "swiglu_limit", 7.0)
    if not clip_width(limit):
        raise UnsupportedModelError(
            f"config.json: swiglu_limit is {limit!r}; it must have at most twelve significant bits"
        )
    gate = ClampedSwiglu(config.number("swiglu_alpha", 0.125, 8.0, 1.702), limit)
    experts = replace(
        read_experts(config, "intermediate_size", True),
        act=gate,
        router="router",
        router_bias=True,
        stack=Stack("experts.gate_up_proj", "experts.down_proj", interleaved=True, transposed=True, bias="_bias"),
    )

    def change(_index: int, layer: Layer) -> Layer:
        return replace(layer, attention=replace(layer.attention, sinks="sinks"), experts=experts)

    model = llama_like(config, rms(config, 1e-5), bias=bias, output_bias=bias)
    return with_windows(
        with_layers(model, change), read_windows(config, model.layers, lambda layer: (layer + 1) % 2 != 0)
    )


GPT_OSS = Architecture(
    name="GptOssForCausalLM",
    example="unsloth/gpt-oss-20b-BF16",
    features=("mixture of experts with biases", "attention sinks", "sliding and full layers", GROUPED, ROPES),
    build=gpt_oss,
    missing="MXFP4 weights (use a copy in bfloat16)",
    defaults={
        "num_key_value_heads": 8,
        "head_dim": 64,
        "sliding_window": 128,
        "rope_theta": 150000.0,
        "rope_parameters": _YARN,
    },
)
