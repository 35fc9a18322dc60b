"""LlamaForCausalLM: RMS norm, rotary positions, grouped attention, gated MLP.

Source: transformers.models.llama.modeling_llama.LlamaForCausalLM.
"""

from __future__ import annotations

from compiler.checkpoint.config import POSITION_LIMIT, VOCAB_LIMIT, CheckpointConfig
from compiler.checkpoint.rope import read_rope
from compiler.graph.activations import ACTIVATIONS
from compiler.graph.architectures.family import Architecture, read_heads, read_layers
from compiler.graph.blocks import Attention, attention, gated_mlp
from compiler.graph.builder import GraphBuilder
from compiler.graph.ir import Graph


def build(config: CheckpointConfig) -> Graph:
    """Graph of a Llama checkpoint."""
    hidden, vocab = config.integer("hidden_size"), config.integer("vocab_size", 1, VOCAB_LIMIT)
    inner = config.integer("intermediate_size")
    positions = config.integer("max_position_embeddings", 1, POSITION_LIMIT)
    eps = config.number("rms_norm_eps", 0.0, 1.0, 1e-6)
    act = config.choice("hidden_act", ACTIVATIONS, "silu")
    heads, layers = read_heads(config, grouped=True), read_layers(config)
    bias, mlp_bias = config.flag("attention_bias", False), config.flag("mlp_bias", False)
    tied = config.flag("tie_word_embeddings", False)
    rope = read_rope(config, heads.head_dim, positions, 10000.0)

    b = GraphBuilder(config.architecture, heads, prefix="model.")
    x = b.embed("model.embed_tokens", vocab, hidden, "token")
    rotary = b.rotary(rope, positions)
    for layer in range(layers):
        b.layer, module = layer, f"model.layers.{layer}"
        block = Attention(
            f"{module}.self_attn", heads.head_dim**-0.5, bias, bias, rotary=rotary, rotary_dim=rope.rotary_dim
        )
        normed = b.norm(x, f"{module}.input_layernorm", "rmsnorm", eps)
        x = b.add(x, attention(b, normed, block, hidden), f"{module}.self_attn")
        normed = b.norm(x, f"{module}.post_attention_layernorm", "rmsnorm", eps)
        x = b.add(x, gated_mlp(b, normed, f"{module}.mlp", inner, hidden, act, mlp_bias), f"{module}.mlp")
    b.layer = -1
    x = b.norm(x, "model.norm", "rmsnorm", eps)
    b.sample(b.linear(x, "lm_head", b.vector(vocab), False, "model.embed_tokens" if tied else ""))
    return b.finish(layers, vocab, positions)


LLAMA = Architecture(
    name="LlamaForCausalLM",
    example="meta-llama/Llama-3.2-1B",
    features=(
        "grouped and multi-query attention",
        "rope: default, linear, dynamic, yarn, longrope, llama3",
        "tied or untied head",
        "attention and MLP biases",
        "head_dim of its own",
    ),
    missing="prompts longer than the original context under dynamic rope and longrope follow decode-step frequencies",
    build=build,
)
