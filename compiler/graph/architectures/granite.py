"""GraniteForCausalLM, its mixtures of experts, and HyperCLOVAXForCausalLM: Llama with multipliers.

Source: transformers.models.granite, granitemoe, granitemoeshared and hyperclovax.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import WIDTH_LIMIT, CheckpointConfig
from compiler.graph.architectures.family import GROUPED, ROPES, Architecture, llama_like, read_act, rms, with_layers
from compiler.graph.architectures.mixtures import read_experts
from compiler.graph.blocks import FeedForward
from compiler.graph.decoder import Decoder, Layer
from compiler.graph.experts import Stack


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


def granite_moe(config: CheckpointConfig) -> Decoder:
    """A Granite whose layers are mixtures; a network that runs for every token may stand beside them."""
    inner = config.integer("shared_intermediate_size", 0, WIDTH_LIMIT, 0)
    act = read_act(config, "hidden_act", "silu")
    shared = FeedForward(inner, act, name="shared_mlp", fused="input_linear", down="output_linear")
    experts = replace(
        read_experts(config, "intermediate_size", True),
        name="block_sparse_moe",
        router="router.layer",
        stack=Stack("input_linear.weight", "output_linear.weight"),
        shared=shared if inner else None,
    )
    return with_layers(granite(config), lambda _, layer: replace(layer, experts=experts))


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
GRANITE_MOE = Architecture(
    name="GraniteMoeForCausalLM",
    example="ibm-granite/granite-3.1-3b-a800m-instruct",
    features=("mixture of experts", *GRANITE.features),
    build=granite_moe,
    defaults={"num_local_experts": 8, "num_experts_per_tok": 2},
)
GRANITE_MOE_SHARED = Architecture(
    name="GraniteMoeSharedForCausalLM",
    example="ibm-research/moe-7b-1b-active-shared-experts",
    features=("mixture of experts with a shared one", *GRANITE.features),
    build=granite_moe,
    defaults=GRANITE_MOE.defaults,
)
