"""BloomForCausalLM and MptForCausalLM: linear biases instead of positions.

Source: transformers.models.bloom.modeling_bloom, transformers.models.mpt.modeling_mpt.
"""

from __future__ import annotations

from compiler.checkpoint.alibi import Alibi, bloom_slopes, mpt_slopes
from compiler.checkpoint.config import POSITION_LIMIT, VOCAB_LIMIT, CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures.family import Architecture, layernorm, read_clip, read_heads, read_layers
from compiler.graph.blocks import Attention, FeedForward, Fused
from compiler.graph.builder import Norm
from compiler.graph.decoder import Decoder, Layer


def bloom(config: CheckpointConfig) -> Decoder:
    """A BLOOM; its field names vary with its age."""
    width = _named(config, "hidden_size", "n_embed")
    heads = read_heads(config, False, (width, _named(config, "n_head", "num_attention_heads")))
    hidden = config.integer(width)
    layer = Layer(
        Attention(
            heads.head_dim**-0.5,
            True,
            True,
            name="self_attention",
            output="dense",
            fused=Fused("query_key_value", grouped=True),
            alibi=Alibi(bloom_slopes(heads.num_attention_heads)),
        ),
        FeedForward(4 * hidden, "gelu_pytorch_tanh", True, gate="", up="dense_h_to_4h", down="dense_4h_to_h"),
        residual_normed=config.flag("apply_residual_connection_post_layernorm", False),
    )
    return Decoder(
        hidden=hidden,
        vocab=config.integer("vocab_size", 1, VOCAB_LIMIT),
        layers=read_layers(config, _named(config, "n_layer", "num_hidden_layers")),
        positions=config.integer("seq_length", 1, POSITION_LIMIT, 2048),
        heads=heads,
        norm=layernorm(config, "layer_norm_epsilon"),
        layer=lambda _index: layer,
        tied=config.flag("tie_word_embeddings", True),
        root="transformer",
        embedding="word_embeddings",
        embedding_norm="word_embeddings_layernorm",
        layer_list="h",
        final_norm="ln_f",
    )


def mpt(config: CheckpointConfig) -> Decoder:
    """An MPT."""
    heads, hidden = read_heads(config, False, ("d_model", "n_heads")), config.integer("d_model")
    options = CheckpointConfig(config.table("attn_config"))
    for name, value in (("alibi", True), ("qk_ln", False), ("prefix_lm", False)):
        if options.flag(name, value) != value:
            raise UnsupportedModelError(f"config.json: attn_config.{name} is {not value}; it must be {value}")
    bias_max = options.number("alibi_bias_max", 8.0, 8.0, 8.0)
    block = Attention(
        options.number("softmax_scale", 1e-9, 1e9, heads.head_dim**-0.5),
        name="attn",
        output="out_proj",
        fused=Fused("Wqkv"),
        alibi=Alibi(mpt_slopes(heads.num_attention_heads, bias_max)),
        clip=read_clip(options),
    )
    network = FeedForward(4 * hidden, "gelu", name="ffn", gate="", up="up_proj", down="down_proj")
    layer = Layer(block, network, before_attention="norm_1", before_mlp="norm_2")
    return Decoder(
        hidden=hidden,
        vocab=config.integer("vocab_size", 1, VOCAB_LIMIT),
        layers=read_layers(config, "n_layers"),
        positions=config.integer("max_seq_len", 1, POSITION_LIMIT),
        heads=heads,
        norm=Norm("layernorm", config.number("layer_norm_epsilon", 0.0, 1.0, 1e-5)),
        layer=lambda _index: layer,
        tied=config.flag("tie_word_embeddings", True),
        root="transformer",
        embedding="wte",
        layer_list="blocks",
        final_norm="norm_f",
    )


def _named(config: CheckpointConfig, name: str, other: str) -> str:
    return other if name not in config.fields and other in config.fields else name


BLOOM = Architecture(
    name="BloomForCausalLM",
    example="bigscience/bloom-560m",
    features=("ALiBi", "norm behind the embedding", "fused query-key-value by head"),
    build=bloom,
)
MPT = Architecture(
    name="MptForCausalLM",
    example="mosaicml/mpt-7b",
    features=("ALiBi", "clip_qkv", "fused query-key-value"),
    build=mpt,
    missing="attention without ALiBi, norms of query and key, prefix language models",
)
