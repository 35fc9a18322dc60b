"""Excerpts: a few layers that stand for all, legal and complete in kinds."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.checkpoint.config import CheckpointConfig
from compiler.graph.architectures import build_graph
from compiler.graph.excerpt import excerpt
from compiler.graph.ir import Graph
from compiler.graph.passes import passes_for, run_passes
from compiler.graph.verify import verify_graph
from tests.tiny import EVERY

_LAYERS = 12


def deep(name: str) -> dict[str, Any]:
    """A tiny model with more layers."""
    config = dict(EVERY[name])
    for field in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
        if field in config:
            config[field] = _LAYERS
    for field in ("layer_types", "no_rope_layers", "layer_rope_theta"):
        if field in config:
            config[field] = (list(config[field]) * _LAYERS)[:_LAYERS]
    return config


def _graph(name: str) -> Graph:
    try:
        return build_graph(CheckpointConfig(deep(name)))
    except Exception as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", EVERY)
def test_an_excerpt_is_legal_and_stands_for_every_layer_once(name: str) -> None:
    graph = _graph(name)
    found = excerpt(graph)
    verify_graph(found.graph)
    run_passes(found.graph, passes_for(True, True))
    kept = {node.source.layer for node in found.graph.nodes} - {-1}
    assert kept == {*range(found.graph.num_layers)}
    assert len(kept) + sum(count for _, count in found.stands_for) == graph.num_layers
    assert {layer for layer, _ in found.stands_for} <= kept


def test_alternating_layers_are_of_two_kinds_and_alike_ones_of_one() -> None:
    assert excerpt(_graph("llama")).stands_for == ((2, _LAYERS - 4),)
    assert excerpt(_graph("gemma2")).stands_for == ((3, 3), (4, 3))


def test_few_layers_stand_for_themselves() -> None:
    graph = build_graph(CheckpointConfig(EVERY["llama"]))
    assert excerpt(graph).graph is graph
