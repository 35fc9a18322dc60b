"""What passes share: who reads a value, a graph with other nodes, a graph with fewer layers."""

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
    """The graph with other nodes, and the shapes and parameters of exactly these."""
    kept = tuple(nodes)
    shapes = {name: graph.shapes[name] for node in kept for name in node.outputs}
    read = {name for node in kept for _, name in node.parameters}
    parameters = tuple(parameter for parameter in graph.parameters if parameter.name in read)
    return replace(graph, nodes=kept, shapes=shapes, parameters=parameters)


def few_layers(graph: Graph, count: int) -> Graph:
    """The first layers of a graph and what stands before and behind all of them.

    What reads a result of the last layer reads the same result of the last one
    kept; where the two are not alike, what stands behind the layers is left out.
    """
    layers = [node.source.layer for node in graph.nodes]
    if graph.num_layers <= count or max(layers) < count:
        return graph
    last = [node for node in graph.nodes if node.source.layer == graph.num_layers - 1]
    kept = [node for node in graph.nodes if node.source.layer == count - 1]
    first_layer = layers.index(0)
    begin = [node for node, layer in zip(graph.nodes, layers, strict=True) if layer < count][:first_layer]
    inside = [node for node in graph.nodes if 0 <= node.source.layer < count]
    behind = [node for node in graph.nodes[first_layer:] if node.source.layer < 0]
    if [node.op for node in last] != [node.op for node in kept]:
        return replace(with_nodes(graph, [*begin, *inside]), num_layers=count)
    renamed = {
        old: new
        for far, near in zip(last, kept, strict=True)
        for old, new in zip(far.outputs, near.outputs, strict=True)
    }
    behind = [replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs)) for node in behind]
    return replace(with_nodes(graph, [*begin, *inside, *behind]), num_layers=count)
