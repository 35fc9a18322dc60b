"""NemotronForCausalLM and ArceeForCausalLM: a plain MLP with a squared ReLU.

Source: transformers.models.nemotron.modeling_nemotron, transformers.models.arcee.modeling_arcee.
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


def _plain(config: CheckpointConfig, norm: Norm, partial: float) -> Decoder:
    bias, mlp_bias = config.flag("attention_bias", False), config.flag("mlp_bias", False)
    model = llama_like(config, norm, act="relu2", bias=bias, output_bias=bias, mlp_bias=mlp_bias, partial=partial)
    return with_layers(model, lambda _, layer: replace(layer, mlp=replace(layer.mlp, gate="")))


def nemotron(config: CheckpointConfig) -> Decoder:
    """A Nemotron: layer norms whose weights are stored minus 1, half of each head rotates."""
    return _plain(config, replace(layernorm(config, "norm_eps"), offset=1.0), 0.5)


def arcee(config: CheckpointConfig) -> Decoder:
    """An AFM."""
    return _plain(config, rms(config, 1e-5), 1.0)


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
