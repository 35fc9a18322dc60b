"""OPTForCausalLM: layer norm before or after, learned positions, plain MLP.

Source: transformers.models.opt.modeling_opt.OPTForCausalLM.
"""

from __future__ import annotations

from compiler.checkpoint.config import POSITION_LIMIT, VOCAB_LIMIT, CheckpointConfig
from compiler.graph.architectures.family import Architecture, read_act, read_heads, read_layers
from compiler.graph.blocks import Attention, FeedForward, Positions, attention, feed_forward
from compiler.graph.builder import GraphBuilder, Norm
from compiler.graph.ir import Graph

_EPS = 1e-5  # torch.nn.LayerNorm's default; OPT has no field for it
_POSITION_OFFSET = 2  # OPTLearnedPositionalEmbedding.offset


def build(config: CheckpointConfig) -> Graph:
    """Graph of an OPT checkpoint."""
    hidden, vocab = config.integer("hidden_size"), config.integer("vocab_size", 1, VOCAB_LIMIT)
    inner = config.integer("ffn_dim")
    positions = config.integer("max_position_embeddings", 1, POSITION_LIMIT)
    embedded = config.integer("word_embed_proj_dim", default=hidden)
    act = read_act(config, "activation_function", "relu")
    heads, layers = read_heads(config, grouped=False), read_layers(config)
    bias, affine = config.flag("enable_bias", True), config.flag("layer_norm_elementwise_affine", True)
    norm_first = config.flag("do_layer_norm_before", True)
    final_norm = norm_first and not config.flag("_remove_final_layer_norm", False)
    tied = config.flag("tie_word_embeddings", True)

    b = GraphBuilder(config.architecture, heads, prefix="model.")
    root = "model.decoder"
    x = b.embed(f"{root}.embed_tokens", vocab, embedded, "token")
    if embedded != hidden:
        x = b.linear(x, f"{root}.project_in", b.vector(hidden), False)
    position = b.embed(f"{root}.embed_positions", positions + _POSITION_OFFSET, hidden, "position", _POSITION_OFFSET)
    x = b.add(x, position, f"{root}.embed_positions")
    layer_norm = Norm("layernorm", _EPS, affine, affine)
    block = Attention(heads.head_dim**-0.5, bias, bias, output="out_proj")
    network = FeedForward(inner, act, bias, name="", gate="", up="fc1", down="fc2")
    for layer in range(layers):
        b.layer, module = layer, f"{root}.layers.{layer}"
        inside = b.norm(x, f"{module}.self_attn_layer_norm", layer_norm) if norm_first else x
        x = b.add(x, attention(b, inside, module, block, hidden, Positions({}, {}, {})), f"{module}.self_attn")
        x = x if norm_first else b.norm(x, f"{module}.self_attn_layer_norm", layer_norm)
        inside = b.norm(x, f"{module}.final_layer_norm", layer_norm) if norm_first else x
        x = b.add(x, feed_forward(b, inside, module, network, hidden), module)
        x = x if norm_first else b.norm(x, f"{module}.final_layer_norm", layer_norm)
    b.layer = -1
    if final_norm:
        x = b.norm(x, f"{root}.final_layer_norm", layer_norm)
    if embedded != hidden:
        x = b.linear(x, f"{root}.project_out", b.vector(embedded), False)
    b.sample(b.linear(x, "lm_head", b.vector(vocab), False, f"{root}.embed_tokens" if tied else ""))
    return b.finish(layers, vocab, positions)


OPT = Architecture(
    name="OPTForCausalLM",
    example="facebook/opt-1.3b",
    features=(
        "norm before or after (350m)",
        "embedding projection (350m)",
        "tied or untied head",
        "with or without biases and affine norms",
    ),
    build=build,
)
