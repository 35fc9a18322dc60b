"""Layer reordering: the key first, the query next, the value last.

The first product of attention waits for the key, which goes to the cache and
comes back, and for the query; the product with the value comes behind the
softmax. So the key's way hides under query and value, the query's under the
value, and the value's strobe write under the scores. The DFX paper (MICRO 2022,
arXiv 2209.10797) computes the value first, for there its transposing write is
what takes longest; here a write is posted, one burst per element.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.graph.ir import Graph, Node
from compiler.graph.rewrite import readers, with_nodes


@dataclass(frozen=True, slots=True)
class KeyFirst:
    """The chain that ends in write_key moves before all that reads the same input, that of write_value behind it.

    Requires: a legal graph. Ensures: the same nodes, each after its inputs.
    """

    name = "key-first"

    def run(self, graph: Graph) -> Graph:
        """The reordered graph."""
        place = {id(node): index for index, node in enumerate(graph.nodes)}
        order = [float(index) for index in range(len(graph.nodes))]
        chains = _Chains(graph)
        reads = readers(graph)
        first_scores: dict[int, int] = {}
        for index, node in enumerate(graph.nodes):
            if node.op == "scores":
                first_scores.setdefault(node.integer("layer"), index)
        for node in graph.nodes:
            if node.op not in ("write_key", "write_value"):
                continue
            chain = chains.ending_in(node)
            inside = {id(link) for link in chain}
            inputs = {name for link in chain for name in link.inputs}
            made = [
                place[id(writer)]
                for name in inputs
                if (writer := chains.writers.get(name)) and id(writer) not in inside
            ]
            if node.op == "write_key":
                at = min(place[id(other)] for other in reads[chain[0].inputs[0]])
                at = max([at, *(index + 1 for index in made)])
            else:
                at = first_scores.get(node.integer("layer"), place[id(node)])
            for link in chain:
                order[place[id(link)]] = at - 0.5
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
