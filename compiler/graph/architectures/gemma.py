"""GemmaForCausalLM, Gemma2, Gemma3 and VaultGemma: scaled embeddings, norm weights around zero.

Source: transformers.models.gemma, gemma2, gemma3 (its text model) and vaultgemma.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures.family import (
    FULL,
    GROUPED,
    ROPES,
    SLIDING,
    Architecture,
    llama_like,
    read_cap,
    read_layer_ropes,
    read_windows,
    rms,
    with_layers,
    with_windows,
)
from compiler.graph.blocks import HeadNorm
from compiler.graph.decoder import Decoder, Layer

_TANH = "gelu_pytorch_tanh"


def gemma(config: CheckpointConfig) -> Decoder:
    """The first Gemma."""
    if config.fields.get("hidden_act") == "gelu":  # its first release said so and meant the tanh form
        config = CheckpointConfig({**config.fields, "hidden_act": _TANH})
    return _gemma(config, "hidden_act")


def _gemma(config: CheckpointConfig, act_name: str) -> Decoder:
    if config.flag("use_bidirectional_attention", False):
        raise UnsupportedModelError("config.json: use_bidirectional_attention is true; only causal attention is known")
    bias = config.flag("attention_bias", False)
    model = llama_like(
        config, rms(config, offset=1.0), act=_TANH, act_name=act_name, bias=bias, output_bias=bias, tied=True
    )
    return replace(model, embedding_scale=model.hidden**0.5, embedding_rounded=True)


def gemma2(config: CheckpointConfig) -> Decoder:
    """Soft caps, norms on both sides of each block, every other layer slides."""
    scale = config.number("query_pre_attn_scalar", 1e-6, 1e9, 256) ** -0.5
    cap = read_cap(config, "attn_logit_softcapping")

    def change(_index: int, layer: Layer) -> Layer:
        return replace(
            layer,
            attention=replace(layer.attention, scale=scale, cap=cap),
            after_attention="post_attention_layernorm",
            before_mlp="pre_feedforward_layernorm",
            after_mlp="post_feedforward_layernorm",
        )

    model = with_layers(_gemma(config, "hidden_activation"), change)
    model = replace(model, logit_cap=read_cap(config, "final_logit_softcapping"))
    return with_windows(model, read_windows(config, model.layers, lambda layer: layer % 2 == 0))


def vault_gemma(config: CheckpointConfig) -> Decoder:
    """A Gemma 2 without the norms behind the blocks."""
    return with_layers(gemma2(config), lambda _, layer: replace(layer, after_attention="", after_mlp=""))


def gemma3(config: CheckpointConfig) -> Decoder:
    """A norm on every query and key head, ropes by kind of layer, five of six layers slide."""
    norm = HeadNorm(rms(config, offset=1.0))
    pattern = config.integer("sliding_window_pattern", 1, 1024, 6)
    model = gemma2(config)
    windows = read_windows(config, model.layers, lambda layer: (layer + 1) % pattern != 0)
    ropes = read_layer_ropes(config, model, 1e6, "rope_local_base_freq", 1e4)

    def change(index: int, layer: Layer) -> Layer:
        rope = ropes[SLIDING if windows[index] else FULL]
        return replace(layer, attention=replace(layer.attention, rope=rope, head_norm=norm, cap=0.0))

    return with_windows(with_layers(model, change), windows)


_FEATURES = ("scaled embeddings", "norm weights around zero", GROUPED, "head_dim of its own")
GEMMA = Architecture(
    name="GemmaForCausalLM",
    example="google/gemma-2b",
    features=(*_FEATURES, ROPES),
    build=gemma,
    defaults={"num_key_value_heads": 16, "head_dim": 256},
)
GEMMA2 = Architecture(
    name="Gemma2ForCausalLM",
    example="google/gemma-2-2b",
    features=("soft caps of scores and logits", "query scaling", "sliding and full layers", *_FEATURES),
    build=gemma2,
    defaults={
        "num_key_value_heads": 4,
        "head_dim": 256,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    },
)
GEMMA3 = Architecture(
    name="Gemma3ForCausalLM",
    example="google/gemma-3-1b-it",
    features=("sliding and full layers with ropes of their own", "norm of each query and key head", *_FEATURES),
    build=gemma3,
    defaults={"num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096, "rope_theta": 1e6},
)
VAULT_GEMMA = Architecture(
    name="VaultGemmaForCausalLM",
    example="google/vaultgemma-1b",
    features=GEMMA2.features,
    build=vault_gemma,
    defaults=GEMMA2.defaults,
)
