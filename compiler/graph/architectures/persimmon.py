"""PersimmonForCausalLM: fused projection head by head, norms of query and key heads, a plain MLP.

Source: transformers.models.persimmon.modeling_persimmon.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import ROPES, Architecture, layernorm, llama_like, with_layers
from compiler.graph.blocks import FeedForward, Fused, HeadNorm
from compiler.graph.decoder import Decoder, Layer


def persimmon(config: CheckpointConfig) -> Decoder:
    """A Persimmon."""
    norm = layernorm(config, "layer_norm_eps")
    head_norm = HeadNorm(norm, "q_layernorm", "k_layernorm") if config.flag("qk_layernorm", True) else None
    one_each = CheckpointConfig({**config.fields, "num_key_value_heads": None, "head_dim": None})
    model = llama_like(one_each, norm, act="relu2", bias=True, output_bias=True, partial=0.5)

    def change(_index: int, layer: Layer) -> Layer:
        fused = Fused("query_key_value", grouped=True)
        block = replace(layer.attention, fused=fused, output="dense", head_norm=head_norm)
        network = FeedForward(layer.mlp.inner, layer.mlp.act, True, gate="", up="dense_h_to_4h", down="dense_4h_to_h")
        return replace(layer, attention=block, mlp=network)

    return replace(with_layers(model, change), final_norm="final_layernorm")


PERSIMMON = Architecture(
    name="PersimmonForCausalLM",
    example="adept/persimmon-8b-base",
    features=("norm of each query and key head", "partial rotary", "squared ReLU", "fused query-key-value", ROPES),
    build=persimmon,
)
