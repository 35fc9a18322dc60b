"""CohereForCausalLM and Cohere2ForCausalLM: parallel blocks, interleaved rotation, scaled logits.

Source: transformers.models.cohere.modeling_cohere, transformers.models.cohere2.modeling_cohere2.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import (
    GROUPED,
    Architecture,
    layernorm,
    llama_like,
    read_windows,
    with_layers,
    with_windows,
)
from compiler.graph.blocks import HeadNorm
from compiler.graph.decoder import Decoder, Layer
from compiler.isa.spec import RopeStyle


def cohere(config: CheckpointConfig) -> Decoder:
    """Command R; `use_qk_norm` gives every head a row of weights."""
    norm = replace(layernorm(config, "layer_norm_eps"), bias=False)
    head_norm = HeadNorm(norm, own="matrix") if config.flag("use_qk_norm", False) else None
    bias = config.flag("attention_bias", False)

    def change(_index: int, layer: Layer) -> Layer:
        block = replace(layer.attention, style=RopeStyle.INTERLEAVED, head_norm=head_norm)
        return replace(layer, attention=block, parallel=True, before_mlp="")

    model = llama_like(config, norm, bias=bias, output_bias=bias, tied=True)
    return replace(with_layers(model, change), logit_scale=config.number("logit_scale", -1e6, 1e6, 0.0625))


def cohere2(config: CheckpointConfig) -> Decoder:
    """Command R7B: three of four layers slide, the others see everything and do not rotate."""
    pattern = config.integer("sliding_window_pattern", 1, 1024, 4)
    model = cohere(config)
    windows = read_windows(config, model.layers, lambda layer: (layer + 1) % pattern != 0)

    def change(index: int, layer: Layer) -> Layer:
        return layer if windows[index] else replace(layer, attention=replace(layer.attention, rope=None))

    return with_windows(with_layers(model, change), windows)


COHERE = Architecture(
    name="CohereForCausalLM",
    example="CohereLabs/c4ai-command-r-v01",
    features=("parallel residual", "norm weights for each query and key head", "logit scale", GROUPED),
    build=cohere,
    defaults={"rope_theta": 500000.0},
)
COHERE2 = Architecture(
    name="Cohere2ForCausalLM",
    example="CohereLabs/c4ai-command-r7b-12-2024",
    features=("parallel residual", "sliding layers with rope, full layers without", "logit scale", GROUPED),
    build=cohere2,
    defaults={"sliding_window": 4096},
)
