"""FalconForCausalLM: old and new decoder layout, multi-query, parallel blocks, rotary or linear biases.

Source: transformers.models.falcon.modeling_falcon.
"""

from __future__ import annotations

from compiler.checkpoint.alibi import Alibi, bloom_slopes
from compiler.checkpoint.config import POSITION_LIMIT, VOCAB_LIMIT, CheckpointConfig, check_divides
from compiler.checkpoint.rope import read_rope
from compiler.dtypes import BFLOAT16
from compiler.graph.architectures.family import HEAD_LIMIT, ROPES, Architecture, layernorm, read_act, read_layers
from compiler.graph.blocks import Attention, FeedForward, Fused
from compiler.graph.decoder import Decoder, Layer
from compiler.graph.ir import Heads


def falcon(config: CheckpointConfig) -> Decoder:
    """A Falcon."""
    hidden, count = config.integer("hidden_size"), config.integer("num_attention_heads", 1, HEAD_LIMIT)
    width = check_divides("hidden_size", hidden, "num_attention_heads", count)
    new, multi_query = config.flag("new_decoder_architecture", False), config.flag("multi_query", True)
    kv_heads = 1 if multi_query and not new else config.integer("num_kv_heads", 1, HEAD_LIMIT, count)
    check_divides("num_attention_heads", count, "num_kv_heads", kv_heads)
    positions = config.integer("max_position_embeddings", 1, POSITION_LIMIT, 2048)
    bias, alibi = config.flag("bias", False), config.flag("alibi", False)
    block = Attention(
        width**-0.5,
        bias,
        bias,
        name="self_attention",
        output="dense",
        fused=Fused("query_key_value", grouped=True),
        rope=None if alibi else read_rope(config, width, positions, 10000.0),
        alibi=_alibi(count) if alibi else None,
    )
    inner = config.integer("ffn_hidden_size", default=4 * hidden)
    act = read_act(config, "activation", "gelu")
    network = FeedForward(inner, act, bias, gate="", up="dense_h_to_4h", down="dense_4h_to_h")
    layer = _layer(config, block, network, new)
    return Decoder(
        hidden=hidden,
        vocab=config.integer("vocab_size", 1, VOCAB_LIMIT),
        layers=read_layers(config),
        positions=positions,
        heads=Heads(count, kv_heads, width),
        norm=layernorm(config, "layer_norm_epsilon"),
        layer=lambda _index: layer,
        tied=config.flag("tie_word_embeddings", True),
        root="transformer",
        embedding="word_embeddings",
        layer_list="h",
        final_norm="ln_f",
    )


def _layer(config: CheckpointConfig, block: Attention, network: FeedForward, new: bool) -> Layer:
    if not config.flag("parallel_attn", True):
        return Layer(block, network)
    if new and config.integer("num_ln_in_parallel_attn", 1, 2, 2) == 2:
        return Layer(block, network, before_attention="ln_attn", before_mlp="ln_mlp", parallel=True)
    return Layer(block, network, before_mlp="", parallel=True)


def _alibi(heads: int) -> Alibi:
    """Slopes, and what they are multiplied by, are rounded to bfloat16."""
    import numpy as np

    from compiler.rounding import round_to

    rounded = round_to(np.array(bloom_slopes(heads), dtype=np.float32), BFLOAT16)
    return Alibi(tuple(float(slope) for slope in rounded), bfloat16=True)


FALCON = Architecture(
    name="FalconForCausalLM",
    example="tiiuae/falcon-7b",
    features=("old and new decoder layout", "multi-query, grouped", "parallel or sequential residual", "ALiBi", ROPES),
    build=falcon,
)
