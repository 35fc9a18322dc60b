"""Starcoder2ForCausalLM: Llama with layer norms, biases everywhere, a plain MLP and a sliding window.

Source: transformers.models.starcoder2.modeling_starcoder2.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import (
    GROUPED,
    ROPES,
    WINDOW,
    Architecture,
    layernorm,
    llama_like,
    read_windows,
    with_layers,
    with_windows,
)
from compiler.graph.decoder import Decoder


def starcoder2(config: CheckpointConfig) -> Decoder:
    """A StarCoder2."""
    bias = config.flag("use_bias", True)
    model = llama_like(
        config,
        layernorm(config, "norm_epsilon"),
        act="gelu_pytorch_tanh",
        bias=bias,
        output_bias=bias,
        mlp_bias=bias,
        tied=True,
    )
    model = with_layers(
        model, lambda _, layer: replace(layer, mlp=replace(layer.mlp, gate="", up="c_fc", down="c_proj"))
    )
    return with_windows(model, read_windows(config, model.layers, lambda _layer: True))


STARCODER2 = Architecture(
    name="Starcoder2ForCausalLM",
    example="bigcode/starcoder2-3b",
    features=(WINDOW, "biases", GROUPED, ROPES),
    build=starcoder2,
    defaults={"num_key_value_heads": 2},
)
