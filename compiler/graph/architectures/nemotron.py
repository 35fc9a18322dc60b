"""NemotronForCausalLM, ArceeForCausalLM and Jais2ForCausalLM: a plain MLP with a squared ReLU.

Source: transformers.models.nemotron, arcee and jais2.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import (
    GROUPED,
    ROPES,
    Architecture,
    layernorm,
    llama_like,
    rms,
    with_layers,
)
from compiler.graph.builder import Norm
from compiler.graph.decoder import Decoder


def _plain(config: CheckpointConfig, norm: Norm, partial: float | None, biases: bool = False) -> Decoder:
    bias, mlp_bias = config.flag("attention_bias", biases), config.flag("mlp_bias", biases)
    model = llama_like(config, norm, act="relu2", bias=bias, output_bias=bias, mlp_bias=mlp_bias, partial=partial)
    return with_layers(model, lambda _, layer: replace(layer, mlp=replace(layer.mlp, gate="")))


def nemotron(config: CheckpointConfig) -> Decoder:
    """A Nemotron: layer norms whose weights are stored minus 1, half of each head rotates."""
    return _plain(config, replace(layernorm(config, "norm_eps"), offset=1.0), 0.5)


def arcee(config: CheckpointConfig) -> Decoder:
    """An AFM."""
    return _plain(config, rms(config, 1e-5), 1.0)


def jais2(config: CheckpointConfig) -> Decoder:
    """A Jais 2: layer norms, and biases unless it says otherwise."""
    return _plain(config, layernorm(config, "layer_norm_eps"), None, biases=True)


NEMOTRON = Architecture(
    name="NemotronForCausalLM",
    example="nvidia/Minitron-4B-Base",
    features=("norm weights around zero", "squared ReLU", "partial rotary", GROUPED, ROPES),
    build=nemotron,
)
ARCEE = Architecture(
    name="ArceeForCausalLM",
    example="arcee-ai/AFM-4.5B",
    features=("squared ReLU", GROUPED, ROPES),
    build=arcee,
)
JAIS2 = Architecture(
    name="Jais2ForCausalLM",
    example="inceptionai/Jais-2-8B-Chat",
    features=("squared ReLU", "biases", GROUPED, ROPES),
    build=jais2,
)
