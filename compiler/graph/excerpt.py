"""A few layers that stand for all: the least of a graph in which every kind of layer follows every kind it follows.

The first layers find the units idle; from the third on a layer takes what every later one of its kind takes, so only
those stand for others.

In: a graph before its passes. Out: a legal graph with some of its layers, and
for each of them how many of the whole it stands for. Layers are of one kind
when they differ in nothing but names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compiler.graph.ir import Graph, Node
from compiler.graph.rewrite import with_nodes

_SETTLED = 2
"""From this layer on units meet a layer as they meet the next one."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some layers of a graph.

    Attributes:
        graph: with these layers, counted anew, and all that stands outside of layers.
        stands_for: (layer, how many layers beside itself it stands for); layers not named stand for themselves.
    """

    graph: Graph
    stands_for: tuple[tuple[int, int], ...]


def excerpt(graph: Graph) -> Excerpt:
    """The first layers, until every kind was among them, and the last one."""
    layers = _layers(graph)
    kinds = _kinds(graph, layers)
    last = len(layers) - 1
    kept = _enough(kinds)
    if kept >= last:
        return Excerpt(graph, ())
    renamed = {
        old: new
        for far, near in zip(layers[last - 1], layers[kept - 1], strict=True)
        for old, new in zip(far.outputs, near.outputs, strict=True)
    }
    dropped = {name for layer in layers[kept:last] for node in layer for name in node.outputs}
    nodes = []
    for node in graph.nodes:
        if not kept <= node.source.layer < last:
            inputs = tuple(renamed.get(name, name) for name in node.inputs)
            if dropped & {*inputs}:
                return Excerpt(graph, ())  # something behind reads a layer in the middle
            source = replace(node.source, layer=kept) if node.source.layer == last else node.source
            nodes.append(replace(node, inputs=inputs, source=source))
    counts: dict[int, int] = {}
    for kind in kinds[kept:last]:
        nearest = max(layer for layer in range(_SETTLED, kept) if kinds[layer] == kind)
        counts[nearest] = counts.get(nearest, 0) + 1
    return Excerpt(replace(with_nodes(graph, nodes), num_layers=kept + 1), tuple(sorted(counts.items())))


def _enough(kinds: Sequence[object]) -> int:
    """How many first layers hold, settled, every kind that follows, and end as the last but one does."""
    last = len(kinds) - 1
    for kept in range(_SETTLED + 1, last):
        if kinds[kept - 1] == kinds[last - 1] and {*kinds[kept:last]} <= {*kinds[_SETTLED:kept]}:
            return kept
    return last


def _layers(graph: Graph) -> list[list[Node]]:
    layers: list[list[Node]] = [[] for _ in range(graph.num_layers)]
    for node in graph.nodes:
        if node.source.layer >= 0:
            layers[node.source.layer].append(node)
    return layers


def _kinds(graph: Graph, layers: Sequence[Sequence[Node]]) -> list[object]:
    """A layer without its names: what its nodes do to what, and the shapes of all parameters."""
    parameters = {parameter.name: parameter for parameter in graph.parameters}
    made: dict[str, tuple[int, int]] = {}
    kinds: list[object] = []
    for number, nodes in enumerate(layers):
        kind = []
        for place, node in enumerate(nodes):
            for output, name in enumerate(node.outputs):
                made[name] = number, 16 * place + output
            inputs = [(number - made[name][0], made[name][1]) if name in made else name for name in node.inputs]
            tensors = [
                (role, parameters[name].kind, parameters[name].shape, parameters[name].cut)
                for role, name in node.parameters
            ]
            plain = [pair for pair in node.attributes if pair[0] != "layer"]
            kind.append((node.op, tuple(inputs), tuple(tensors), tuple(plain)))
        kinds.append(tuple(kind))
    return kinds
