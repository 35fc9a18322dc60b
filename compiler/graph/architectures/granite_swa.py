"""GraniteSWAForCausalLM and GraniteMoeSWAForCausalLM: a Granite with windows, sinks and a base for each layer.

Source: transformers.models.granite_swa and granitemoe_swa.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures.family import Architecture, read_windows, with_layers, with_windows
from compiler.graph.architectures.granite import GRANITE, granite, granite_moe
from compiler.graph.decoder import Decoder, Layer
from compiler.graph.experts import Stack

_PATTERN = 4  # every fourth layer, the first one included, sees everything
_THETA_LIMIT = 1e12


def granite_swa(config: CheckpointConfig) -> Decoder:
    """A dense one."""
    return _windowed(config, granite(config))


def granite_moe_swa(config: CheckpointConfig) -> Decoder:
    """One of mixtures, stored as transformers holds them."""

    def change(_index: int, layer: Layer) -> Layer:
        assert layer.experts
        stack = Stack("experts.gate_up_proj", "experts.down_proj")
        return replace(layer, experts=replace(layer.experts, router="router", stack=stack))

    return _windowed(config, with_layers(granite_moe(config), change))


def _windowed(config: CheckpointConfig, model: Decoder) -> Decoder:
    thetas = _thetas(config, model.layers)

    def change(index: int, layer: Layer) -> Layer:
        rope = layer.attention.rope
        if thetas is not None and rope is not None:
            rope = replace(rope, theta=thetas[index]) if thetas[index] else None
        return replace(layer, attention=replace(layer.attention, rope=rope, sinks="sinks"))

    windows = read_windows(config, model.layers, lambda layer: layer % _PATTERN != 0)
    return with_windows(with_layers(model, change), windows)


def _thetas(config: CheckpointConfig, layers: int) -> list[float] | None:
    """The base of each layer's rotation, 0 where it does not rotate; None: that of the config for all."""
    given = config.fields.get("layer_rope_theta")
    if given is None:
        return None
    if (
        not isinstance(given, list)
        or len(given) < layers
        or any(isinstance(each, bool) or not isinstance(each, int | float) for each in given)
        or any(each and not 1 <= each <= _THETA_LIMIT for each in given)
    ):
        raise UnsupportedModelError(
            f"config.json: layer_rope_theta must be a list of 0, or 1 to {_THETA_LIMIT:g}, for each of {layers} layers"
        )
    return [float(each) for each in given[:layers]]


_FEATURES = ("sliding and full layers with bases of their own", "attention sinks", *GRANITE.features)
GRANITE_SWA = Architecture(
    name="GraniteSWAForCausalLM",
    example="ibm-granite/granite-swash-2b",
    features=_FEATURES,
    build=granite_swa,
    defaults={"num_key_value_heads": 4, "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "sliding_window": 128},
)
GRANITE_MOE_SWA = Architecture(
    name="GraniteMoeSWAForCausalLM",
    example="ibm-granite/granite-swash-3b-a600m",
    features=("mixture of experts", *_FEATURES),
    build=granite_moe_swa,
    defaults={"num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": 128},
)
