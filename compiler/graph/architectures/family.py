"""What a family's file provides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.checkpoint.config import LAYER_LIMIT, CheckpointConfig, check_divides
from compiler.graph.ir import Graph, Heads

HEAD_LIMIT = 1024
HEAD_DIM_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Architecture:
    """One row of the table of supported architectures.

    Attributes:
        name: Hugging Face class, as `architectures` of config.json spells it.
        example: a model id on the hub.
        features: what of the family works.
        missing: what does not, "" when all does.
        build: config to graph.
    """

    name: str
    example: str
    features: tuple[str, ...]
    missing: str
    build: Callable[[CheckpointConfig], Graph]


def read_layers(config: CheckpointConfig) -> int:
    """`num_hidden_layers`, checked."""
    return config.integer("num_hidden_layers", 1, LAYER_LIMIT)


def read_heads(config: CheckpointConfig, grouped: bool) -> Heads:
    """Attention heads; `grouped` families may have fewer key/value heads and a head_dim of their own.

    Raises:
        UnsupportedModelError: counts that do not divide.
    """
    hidden = config.integer("hidden_size")
    heads = config.integer("num_attention_heads", 1, HEAD_LIMIT)
    if not grouped:
        return Heads(heads, heads, check_divides("hidden_size", hidden, "num_attention_heads", heads))
    kv_heads = config.integer("num_key_value_heads", 1, HEAD_LIMIT, heads)
    check_divides("num_attention_heads", heads, "num_key_value_heads", kv_heads)
    if config.fields.get("head_dim") is None:
        return Heads(heads, kv_heads, check_divides("hidden_size", hidden, "num_attention_heads", heads))
    return Heads(heads, kv_heads, config.integer("head_dim", 1, HEAD_DIM_LIMIT))
