"""PhiForCausalLM and Phi3ForCausalLM: the parallel one with biases, and the Llama with fused projections.

Source: transformers.models.phi.modeling_phi, transformers.models.phi3.modeling_phi3.
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
    rms,
    with_layers,
    with_windows,
)
from compiler.graph.blocks import Fused, HeadNorm
from compiler.graph.decoder import Decoder, Layer


def phi(config: CheckpointConfig) -> Decoder:
    """Phi 1, 1.5 and 2."""
    norm = layernorm(config, "layer_norm_eps")
    head_norm = HeadNorm(norm, "q_layernorm", "k_layernorm") if config.flag("qk_layernorm", False) else None
    model = llama_like(config, norm, act="gelu_new", bias=True, output_bias=True, mlp_bias=True, partial=0.5)

    def change(_index: int, layer: Layer) -> Layer:
        block = replace(layer.attention, output="dense", head_norm=head_norm)
        network = replace(layer.mlp, gate="", up="fc1", down="fc2")
        return replace(layer, attention=block, mlp=network, parallel=True, before_mlp="")

    return replace(with_layers(model, change), final_norm="final_layernorm", head_bias=True)


def phi3(config: CheckpointConfig) -> Decoder:
    """Phi 3, 3.5 and 4; the cache is made anew where longrope changes its factors."""

    def change(_index: int, layer: Layer) -> Layer:
        block = replace(layer.attention, fused=Fused("qkv_proj"))
        return replace(layer, attention=block, mlp=replace(layer.mlp, fused="gate_up_proj"))

    model = replace(with_layers(llama_like(config, rms(config, 1e-5), partial=1.0), change), reread=True)
    return with_windows(model, read_windows(config, model.layers, lambda _layer: True))


PHI = Architecture(
    name="PhiForCausalLM",
    example="microsoft/phi-2",
    features=("parallel residual", "partial rotary", "norm of each query and key head", "biases", GROUPED),
    build=phi,
)
PHI3 = Architecture(
    name="Phi3ForCausalLM",
    example="microsoft/Phi-3-mini-4k-instruct",
    features=("fused query-key-value and gate-up", WINDOW, "partial rotary", GROUPED, ROPES),
    build=phi3,
    defaults={"original_max_position_embeddings": 4096},
)
