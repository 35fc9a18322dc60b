"""GPTNeoXForCausalLM: a fused projection head by head, partial rotary, parallel or sequential blocks.

Source: transformers.models.gpt_neox.modeling_gpt_neox.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures.family import ROPES, Architecture, layernorm, llama_like, with_layers
from compiler.graph.blocks import FeedForward, Fused
from compiler.graph.decoder import Decoder, Layer


def gpt_neox(config: CheckpointConfig) -> Decoder:
    """A GPT-NeoX or Pythia."""
    bias, parallel = config.flag("attention_bias", True), config.flag("use_parallel_residual", True)
    model = llama_like(
        config,
        layernorm(config, "layer_norm_eps"),
        act="gelu",
        bias=bias,
        output_bias=bias,
        theta=config.number("rotary_emb_base", 1.0, 1e12, 10000.0),
        partial=config.number("rotary_pct", 0.0, 1.0, 0.25),
    )

    def change(_index: int, layer: Layer) -> Layer:
        block = replace(layer.attention, name="attention", fused=Fused("query_key_value", grouped=True), output="dense")
        network = FeedForward(layer.mlp.inner, layer.mlp.act, True, gate="", up="dense_h_to_4h", down="dense_4h_to_h")
        return replace(layer, attention=block, mlp=network, parallel=parallel)

    return replace(
        with_layers(model, change),
        root="gpt_neox",
        embedding="embed_in",
        final_norm="final_layer_norm",
        head="embed_out",
    )


GPT_NEOX = Architecture(
    name="GPTNeoXForCausalLM",
    example="EleutherAI/pythia-1b",
    features=("parallel or sequential residual", "partial rotary", "fused query-key-value by head", ROPES),
    build=gpt_neox,
    harmless=(".attention.bias", "embed_out.weight"),
)
