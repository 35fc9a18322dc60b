"""GPTNeoForCausalLM: GPT-2 with rows stored as rows, unscaled scores and local layers.

Source: transformers.models.gpt_neo.modeling_gpt_neo.
"""

from __future__ import annotations

from typing import Any

from compiler.checkpoint.config import POSITION_LIMIT, VOCAB_LIMIT, CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures.family import Architecture, layernorm, read_act, read_heads, read_layers
from compiler.graph.blocks import Attention, FeedForward
from compiler.graph.decoder import Decoder, Layer


def gpt_neo(config: CheckpointConfig) -> Decoder:
    """A GPT-Neo."""
    hidden, layers = config.integer("hidden_size"), read_layers(config, "num_layers")
    inner = config.integer("intermediate_size", default=4 * hidden)
    act = read_act(config, "activation_function", "gelu_new")
    window = config.integer("window_size", 1, POSITION_LIMIT, 256)
    network = FeedForward(inner, act, True, gate="", up="c_fc", down="c_proj")
    kinds = tuple(
        Layer(
            Attention(1.0, output_bias=True, name="attn.attention", output="out_proj", window=seen),
            network,
            before_attention="ln_1",
            before_mlp="ln_2",
        )
        for seen in (0, window)
    )
    local = _local(config, layers)
    return Decoder(
        hidden=hidden,
        vocab=config.integer("vocab_size", 1, VOCAB_LIMIT),
        layers=layers,
        positions=config.integer("max_position_embeddings", 1, POSITION_LIMIT),
        heads=read_heads(config, False, ("hidden_size", "num_heads")),
        norm=layernorm(config, "layer_norm_epsilon"),
        layer=lambda index: kinds[local[index]],
        tied=config.flag("tie_word_embeddings", True),
        root="transformer",
        embedding="wte",
        layer_list="h",
        final_norm="ln_f",
        learned_positions="wpe",
    )


def _local(config: CheckpointConfig, layers: int) -> list[bool]:
    """Which layers are local; `attention_types` is a list of [kinds, how often these are repeated]."""
    groups: Any = config.fields.get("attention_types")
    groups = [[["global", "local"], 12]] if groups is None else groups
    kinds: list[Any] = []
    for group in groups if isinstance(groups, list) else ():
        if isinstance(group, list) and len(group) == 2 and isinstance(group[0], list) and type(group[1]) is int:
            kinds += group[0] * max(0, min(group[1], layers))
    if len(kinds) < layers or any(kind not in ("global", "local") for kind in kinds[:layers]):
        raise UnsupportedModelError(
            f"config.json: attention_types must say global or local for each of {layers} layers, "
            'as [[["global", "local"], 12]] does for 24'
        )
    return [kind == "local" for kind in kinds[:layers]]


GPT_NEO = Architecture(
    name="GPTNeoForCausalLM",
    example="EleutherAI/gpt-neo-125m",
    features=("learned positions", "local and global layers"),
    build=gpt_neo,
    harmless=(".attn.attention.bias",),
)
