"""Config fields that mixtures of experts have in common."""

from __future__ import annotations

from collections.abc import Callable

from compiler.checkpoint.config import CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures.family import read_act, read_layers
from compiler.graph.experts import Experts

SPARSE = "sparse"
DENSE = "dense"

EXPERT_LIMIT = 512
CHOSEN_LIMIT = 16
TOTAL_LIMIT = 1 << 15
"""Experts of all layers; the largest models known have some 25 000."""


def read_experts(config: CheckpointConfig, inner: str, normalised: bool, act: str = "silu") -> Experts:
    """Number and width of the experts, and how many run for a token; names are Llama's.

    Raises:
        UnsupportedModelError: more chosen than there are.
    """
    names = ("num_experts", "n_routed_experts", "num_local_experts")
    name = next((name for name in names if config.fields.get(name) is not None), names[-1])
    count = config.integer(name, 1, EXPERT_LIMIT)
    chosen = config.integer("num_experts_per_tok", 1, CHOSEN_LIMIT)
    if chosen > count:
        raise UnsupportedModelError(f"config.json: num_experts_per_tok is {chosen}; it must be at most {name} {count}")
    layers = read_layers(config)
    if layers * count > TOTAL_LIMIT:
        raise UnsupportedModelError(
            f"config.json: {name} {count} times num_hidden_layers {layers} is {layers * count}; it must be at most "
            f"{TOTAL_LIMIT}"
        )
    return Experts(count, chosen, config.integer(inner), read_act(config, "hidden_act", act), normalised)


def read_sparse(config: CheckpointConfig, layers: int, default: Callable[[int], bool]) -> list[bool]:
    """Which layers are mixtures: `mlp_layer_types` says it, or `default` where that is missing.

    Raises:
        UnsupportedModelError: layers of another kind, or of another number.
    """
    kinds = config.fields.get("mlp_layer_types")
    if kinds is None:
        return [default(index) for index in range(layers)]
    if not isinstance(kinds, list) or len(kinds) < layers or any(kind not in (SPARSE, DENSE) for kind in kinds):
        raise UnsupportedModelError(
            f"config.json: mlp_layer_types must be a list of {SPARSE} or {DENSE} for each of {layers} layers"
        )
    return [kind == SPARSE for kind in kinds[:layers]]
