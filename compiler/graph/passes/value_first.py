"""Layer reordering: the value first, the key next, the query last.

The value's strobe write into the cache, a burst per element, hides under what is
computed behind it (DFX, MICRO 2022, arXiv 2209.10797), and the way of the key to
the cache and back under the query.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.graph.ir import Graph, Node
from compiler.graph.rewrite import readers, with_nodes

_BEFORE = {"write_value": 0.75, "write_key": 0.5}
"""How far the chain that ends in a write moves before the first reader of its input: the value further."""


@dataclass(frozen=True, slots=True)
class ValueFirst:
    """The chains that end in write_value and write_key move, in this order, before all that reads the same input.

    Requires: a legal graph. Ensures: the same nodes, each after its inputs.
    """

    name = "value-first"

    def run(self, graph: Graph) -> Graph:
        """The reordered graph."""
        place = {id(node): index for index, node in enumerate(graph.nodes)}
        order = [float(index) for index in range(len(graph.nodes))]
        chains = _Chains(graph)
        reads = readers(graph)
        for node in graph.nodes:
            if node.op not in _BEFORE:
                continue
            chain = chains.ending_in(node)
            first = min(place[id(other)] for other in reads[chain[0].inputs[0]])
            inside = {id(link) for link in chain}
            writers = (chains.writers.get(name) for link in chain for name in link.inputs)
            made = max((place[id(each)] + 1 for each in writers if each and id(each) not in inside), default=0)
            for link in chain:
                order[place[id(link)]] = max(first, made) - _BEFORE[node.op]
        ranked = sorted(range(len(order)), key=order.__getitem__)  # stable: chains keep their order
        return with_nodes(graph, [graph.nodes[index] for index in ranked])


class _Chains:
    """What makes a key or value and nothing else."""

    def __init__(self, graph: Graph) -> None:
        self.writers = {name: node for node in graph.nodes for name in node.outputs}
        self._readers = readers(graph)

    def ending_in(self, node: Node) -> list[Node]:
        """From the matrix to the write into the cache; shorter where something else reads a value in between."""
        chain = [node]
        while chain[0].op != "linear":
            writer = self.writers[chain[0].inputs[0]]
            if len(writer.outputs) > 1 or len(self._readers[writer.outputs[0]]) > 1:
                break
            chain.insert(0, writer)
        return chain
