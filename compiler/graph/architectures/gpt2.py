"""GPT2LMHeadModel, GPTBigCodeForCausalLM, GPTJForCausalLM and CodeGenForCausalLM: GPT-2's field names.

Source: transformers.models.gpt2, gpt_bigcode, gptj and codegen.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.checkpoint.config import POSITION_LIMIT, VOCAB_LIMIT, CheckpointConfig, check_divides
from compiler.checkpoint.rope import Rope
from compiler.graph.architectures.family import Architecture, layernorm, read_act, read_heads, read_layers, with_layers
from compiler.graph.blocks import Attention, FeedForward, Fused
from compiler.graph.decoder import Decoder, Layer
from compiler.graph.ir import Heads
from compiler.isa.spec import RopeStyle


def _gpt(config: CheckpointConfig, act: str, heads: Heads, attention: Attention, up: str, down: str) -> Decoder:
    width = config.integer("n_embd")
    inner = config.integer("n_inner", default=4 * width)
    network = FeedForward(inner, read_act(config, "activation_function", act), True, gate="", up=up, down=down)
    layer = Layer(attention, network, before_attention="ln_1", before_mlp="ln_2")
    return Decoder(
        hidden=width,
        vocab=config.integer("vocab_size", 1, VOCAB_LIMIT),
        layers=read_layers(config, "n_layer"),
        positions=config.integer("n_positions", 1, POSITION_LIMIT),
        heads=heads,
        norm=layernorm(config, "layer_norm_epsilon"),
        layer=lambda _index: layer,
        tied=config.flag("tie_word_embeddings", True),
        root="transformer",
        embedding="wte",
        layer_list="h",
        final_norm="ln_f",
        learned_positions="wpe",
    )


def gpt2(config: CheckpointConfig) -> Decoder:
    """GPT-2: weights stored as columns, then rows; scores may be scaled by layer."""
    heads = read_heads(config, False, ("n_embd", "n_head"))
    by_layer = config.flag("scale_attn_by_inverse_layer_idx", False)
    block = Attention(_scale(config, heads), True, True, "attn", output="c_proj", fused=Fused("c_attn"))

    def change(index: int, layer: Layer) -> Layer:
        scale = block.scale / (index + 1) if by_layer else block.scale
        attention = replace(block, scale=scale, transposed=True)
        return replace(layer, attention=attention, mlp=replace(layer.mlp, transposed=True))

    return with_layers(_gpt(config, "gelu_new", heads, block, "c_fc", "c_proj"), change)


def gpt_bigcode(config: CheckpointConfig) -> Decoder:
    """StarCoder and SantaCoder: one key/value head, or as many as query heads."""
    heads = read_heads(config, False, ("n_embd", "n_head"))
    several = not config.flag("multi_query", True)
    heads = heads if several else replace(heads, num_key_value_heads=1)
    fused = Fused("c_attn", grouped=several)
    block = Attention(_scale(config, heads), True, True, "attn", output="c_proj", fused=fused)
    return _gpt(config, "gelu_pytorch_tanh", heads, block, "c_fc", "c_proj")


def gptj(config: CheckpointConfig) -> Decoder:
    """GPT-J: parallel blocks, interleaved rotation of the first `rotary_dim` lanes, a head with a bias."""
    heads = read_heads(config, False, ("n_embd", "n_head"))
    positions = config.integer("n_positions", 1, POSITION_LIMIT)
    lanes = 2 * check_divides("rotary_dim", config.integer("rotary_dim", 2, heads.head_dim), "2", 2)
    rope = Rope("default", 10000.0, lanes, positions, positions, 1.0, 1.0)
    block = Attention(heads.head_dim**-0.5, name="attn", output="out_proj", rope=rope, style=RopeStyle.INTERLEAVED)
    model = _gpt(config, "gelu_new", heads, block, "fc_in", "fc_out")
    model = with_layers(model, lambda _, layer: replace(layer, parallel=True, before_mlp=""))
    tied = config.flag("tie_word_embeddings", False)
    return replace(model, learned_positions="", head_bias=True, tied=tied)


def codegen(config: CheckpointConfig) -> Decoder:
    """CodeGen: a GPT-J whose fused projection is made for four devices."""
    fused = Fused("qkv_proj", parts=_CODEGEN_PARTS, value_first=True)
    check_divides("n_head", config.integer("n_head"), "parts of qkv_proj", _CODEGEN_PARTS)
    return with_layers(gptj(config), lambda _, layer: replace(layer, attention=replace(layer.attention, fused=fused)))


def _scale(config: CheckpointConfig, heads: Heads) -> float:
    return heads.head_dim**-0.5 if config.flag("scale_attn_weights", True) else 1.0


_BUFFERS = (".attn.bias",)
_CODEGEN_PARTS = 4

GPT2 = Architecture(
    name="GPT2LMHeadModel",
    example="openai-community/gpt2",
    features=("transposed weights", "learned positions", "scale by layer index"),
    build=gpt2,
    harmless=_BUFFERS,
)
GPT_BIGCODE = Architecture(
    name="GPTBigCodeForCausalLM",
    example="bigcode/starcoderbase-1b",
    features=("multi-query or multi-head attention", "learned positions"),
    build=gpt_bigcode,
    harmless=_BUFFERS,
)
GPTJ = Architecture(
    name="GPTJForCausalLM",
    example="EleutherAI/gpt-j-6b",
    features=("parallel residual", "interleaved partial rotary", "head with a bias"),
    build=gptj,
    harmless=_BUFFERS,
    defaults={"rotary_dim": 64},
)
CODEGEN = Architecture(
    name="CodeGenForCausalLM",
    example="Salesforce/codegen-350M-mono",
    features=("parallel residual", "interleaved partial rotary", "fused query-key-value", "head with a bias"),
    build=codegen,
    harmless=(".attn.causal_mask",),
    defaults={"rotary_dim": 64},
)
