"""ApertusForCausalLM: a plain MLP with a learned activation, norms of query and key heads.

Source: transformers.models.apertus.modeling_apertus, transformers.activations.XIELUActivation.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.activations import ACTIVATIONS
from compiler.graph.architectures.family import GROUPED, ROPES, Architecture, llama_like, rms, with_layers
from compiler.graph.blocks import XIELU, HeadNorm
from compiler.graph.decoder import Decoder, Layer


def apertus(config: CheckpointConfig) -> Decoder:
    """An Apertus."""
    bias, norm = config.flag("attention_bias", False), rms(config, 1e-5)
    act = config.choice("hidden_act", (*ACTIVATIONS, "relu2", XIELU), XIELU)

    def change(_index: int, layer: Layer) -> Layer:
        return replace(
            layer,
            attention=replace(layer.attention, head_norm=HeadNorm(norm)),
            mlp=replace(layer.mlp, act=act, gate=""),
            before_attention="attention_layernorm",
            before_mlp="feedforward_layernorm",
        )

    plain = CheckpointConfig({**config.fields, "hidden_act": "silu"})
    return with_layers(llama_like(plain, norm, bias=bias, output_bias=bias), change)


_LLAMA3 = {
    "rope_theta": 12000000.0,
    "rope_type": "llama3",
    "factor": 8.0,
    "original_max_position_embeddings": 8192,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}

APERTUS = Architecture(
    name="ApertusForCausalLM",
    example="swiss-ai/Apertus-8B-Instruct-2509",
    features=("learned activation (xIELU)", "norm of each query and key head", GROUPED, ROPES),
    build=apertus,
    harmless=(".act_fn.eps",),
    defaults={"rope_theta": 12000000.0, "rope_parameters": _LLAMA3},
)
