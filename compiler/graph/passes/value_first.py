"""Layer reordering: V before Q and K, so that the transposing write of V is hidden.

Source: the DFX paper (MICRO 2022, arXiv 2209.10797) computes the value first
because its strobe write into the cache takes longest.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.graph.ir import Graph, Node
from compiler.graph.rewrite import with_nodes


@dataclass(frozen=True, slots=True)
class ValueFirst:
    """The chain that ends in write_value moves before the first node of its layer that reads the same input.

    Requires: a legal graph. Ensures: the same nodes, each after its inputs.
    """

    name = "value-first"

    def run(self, graph: Graph) -> Graph:
        """The reordered graph."""
        writer = {name: node for node in graph.nodes for name in node.outputs}
        target: dict[int, list[Node]] = {}  # index of a node -> chain that goes before it
        moved: set[int] = set()
        for node in graph.nodes:
            if node.op != "write_value":
                continue
            chain = [node]
            while chain[0].op != "linear":
                chain.insert(0, writer[chain[0].inputs[0]])
            source = set(chain[0].inputs)
            first = next(
                index for index, other in enumerate(graph.nodes) if other.op == "linear" and source & set(other.inputs)
            )
            target.setdefault(first, []).extend(chain)
            moved.update(id(link) for link in chain)
        nodes: list[Node] = []
        for index, node in enumerate(graph.nodes):
            nodes.extend(target.get(index, ()))
            if id(node) not in moved:
                nodes.append(node)
        return with_nodes(graph, nodes)
