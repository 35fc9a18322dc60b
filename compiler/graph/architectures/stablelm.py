"""StableLmForCausalLM: Llama with layer norms, partly rotated heads, and a parallel variant.

Source: transformers.models.stablelm.modeling_stablelm.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import GROUPED, ROPES, Architecture, layernorm, llama_like, with_layers
from compiler.graph.blocks import HeadNorm
from compiler.graph.builder import Norm
from compiler.graph.decoder import Decoder, Layer


def stablelm(config: CheckpointConfig) -> Decoder:
    """A StableLM; `qk_layernorm` gives every head a norm of its own."""
    norm = layernorm(config, "layer_norm_eps")
    per_head = HeadNorm(Norm("layernorm", norm.eps), "q_layernorm", "k_layernorm", own="norms.{}")
    head_norm = per_head if config.flag("qk_layernorm", False) else None
    parallel = config.flag("use_parallel_residual", False)

    def change(_index: int, layer: Layer) -> Layer:
        after = "" if parallel else layer.before_mlp
        block = replace(layer.attention, head_norm=head_norm)
        return replace(layer, attention=block, parallel=parallel, before_mlp=after)

    return with_layers(llama_like(config, norm, bias=config.flag("use_qkv_bias", False), partial=0.25), change)


STABLELM = Architecture(
    name="StableLmForCausalLM",
    example="stabilityai/stablelm-2-1_6b",
    features=("parallel residual", "a norm for each query and key head", "partial rotary", GROUPED, ROPES),
    build=stablelm,
    defaults={"num_key_value_heads": 32},
)
