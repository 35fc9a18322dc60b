"""GraniteForCausalLM and HyperCLOVAXForCausalLM: Llama with multipliers, the latter with more norms.

Source: transformers.models.granite.modeling_granite, transformers.models.hyperclovax.modeling_hyperclovax.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import GROUPED, ROPES, Architecture, llama_like, rms, with_layers
from compiler.graph.decoder import Decoder, Layer


def _multiplied(config: CheckpointConfig, default_scale: float | None) -> Decoder:
    bias = config.flag("attention_bias", False)
    model = llama_like(config, rms(config), bias=bias, output_bias=bias, mlp_bias=config.flag("mlp_bias", False))
    scale = model.heads.head_dim**-0.5 if default_scale is None else default_scale
    scale = config.number("attention_multiplier", 1e-9, 1e9, scale)
    residual = config.number("residual_multiplier", 1e-9, 1e9, 1.0)

    def change(_index: int, layer: Layer) -> Layer:
        return replace(layer, attention=replace(layer.attention, scale=scale), sublayer_scale=residual)

    embedding = config.number("embedding_multiplier", 1e-9, 1e9, 1.0)
    return replace(with_layers(model, change), embedding_scale=embedding)


def granite(config: CheckpointConfig) -> Decoder:
    """A Granite; its logits are divided."""
    return replace(_multiplied(config, 1.0), logit_scale=1.0 / config.number("logits_scaling", 1e-9, 1e9, 1.0))


def hyperclovax(config: CheckpointConfig) -> Decoder:
    """A HyperCLOVA X; its logits are multiplied."""
    model = replace(_multiplied(config, None), logit_scale=config.number("logits_scaling", 1e-9, 1e9, 1.0))
    if not config.flag("use_post_norm", True):
        return model
    return with_layers(model, lambda _, layer: replace(layer, after_attention="post_norm1", after_mlp="post_norm2"))


_MULTIPLIERS = "multipliers of embedding, attention, residual and logits"
GRANITE = Architecture(
    name="GraniteForCausalLM",
    example="ibm-granite/granite-3.3-2b-instruct",
    features=(_MULTIPLIERS, "attention and MLP biases", GROUPED, ROPES),
    build=granite,
)
HYPERCLOVAX = Architecture(
    name="HyperCLOVAXForCausalLM",
    example="naver-hyperclovax/HyperCLOVAX-SEED-Think-14B",
    features=(_MULTIPLIERS, "norms behind the blocks", GROUPED, ROPES),
    build=hyperclovax,
)
