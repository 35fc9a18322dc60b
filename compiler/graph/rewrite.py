"""What passes share: who reads a value, and a graph with other nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from compiler.graph.ir import Graph, Node


def readers(graph: Graph) -> dict[str, list[Node]]:
    """For every value the nodes that read it, in program order."""
    found: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            found.setdefault(name, []).append(node)
    return found


def with_nodes(graph: Graph, nodes: Iterable[Node]) -> Graph:
    """The graph with other nodes and the shapes of exactly their values."""
    kept = tuple(nodes)
    shapes = {name: graph.shapes[name] for node in kept for name in node.outputs}
    return replace(graph, nodes=kept, shapes=shapes)
