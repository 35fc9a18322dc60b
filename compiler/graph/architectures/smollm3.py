"""SmolLM3ForCausalLM: Llama with layers that do not rotate.

Source: transformers.models.smollm3.modeling_smollm3.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures.family import (
    GROUPED,
    ROPES,
    Architecture,
    llama_like,
    read_windows,
    rms,
    with_layers,
    with_windows,
)
from compiler.graph.decoder import Decoder, Layer


def smollm3(config: CheckpointConfig) -> Decoder:
    """A SmolLM3."""
    bias = config.flag("attention_bias", False)
    model = llama_like(
        config,
        rms(config),
        bias=bias,
        output_bias=bias,
        mlp_bias=config.flag("mlp_bias", False),
        tied=True,
    )
    rotates = _rotates(config, model.layers)

    def change(index: int, layer: Layer) -> Layer:
        return layer if rotates[index] else replace(layer, attention=replace(layer.attention, rope=None))

    model = with_layers(model, change)
    if config.fields.get("layer_types") is None and not config.flag("use_sliding_window", False):
        return model
    return with_windows(model, read_windows(config, model.layers, lambda layer: not rotates[layer]))


def _rotates(config: CheckpointConfig, layers: int) -> list[int]:
    """1 for each layer that rotates; `no_rope_layers` says so, or every `no_rope_layer_interval`th does not."""
    interval = config.integer("no_rope_layer_interval", 1, 1024, 4)
    given = config.fields.get("no_rope_layers")
    if given is None:
        return [int((index + 1) % interval != 0) for index in range(layers)]
    if not isinstance(given, list) or len(given) < layers or any(value not in (0, 1) for value in given):
        raise UnsupportedModelError(f"config.json: no_rope_layers must be a list of 0 or 1 for each of {layers} layers")
    return given[:layers]


SMOLLM3 = Architecture(
    name="SmolLM3ForCausalLM",
    example="HuggingFaceTB/SmolLM3-3B",
    features=("layers without rope", "sliding window", GROUPED, ROPES),
    build=smollm3,
    defaults={"num_key_value_heads": 4, "rope_theta": 2e6},
)
