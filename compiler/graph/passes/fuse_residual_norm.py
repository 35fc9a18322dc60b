"""Kernel fusion on the vector unit: a residual addition with the norm that follows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.graph.ir import Graph, Node
from compiler.graph.rewrite import readers, with_nodes


@dataclass(frozen=True, slots=True)
class FuseResidualNorm:
    """add, norm of the sum become one add_norm, which also writes the sum.

    Requires: a legal graph. Ensures: same function, same rounding.
    """

    name = "fuse-residual-norm"

    def run(self, graph: Graph) -> Graph:
        """The fused graph; the norm moves up to its addition."""
        uses = readers(graph)
        fused: dict[str, Node] = {}
        dropped: set[str] = set()
        for node in graph.nodes:
            if node.op != "add":
                continue
            norms = [reader for reader in uses.get(node.outputs[0], []) if reader.op == "norm"]
            if norms:
                norm = norms[0]
                outputs = (norm.outputs[0], node.outputs[0])
                fused[node.outputs[0]] = replace(norm, op="add_norm", inputs=node.inputs, outputs=outputs)
                dropped.add(norm.outputs[0])
        nodes = []
        for node in graph.nodes:
            if node.op == "norm" and node.outputs[0] in dropped:
                continue
            nodes.append(fused.get(node.outputs[0], node) if node.op == "add" else node)
        return with_nodes(graph, nodes)
