"""Kernel fusion on the vector unit: the scale of the scores into their softmax."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.graph.ir import Graph, attributes
from compiler.graph.rewrite import readers, with_nodes


@dataclass(frozen=True, slots=True)
class FuseSoftmax:
    """scale, softmax become one softmax with that scale.

    Requires: a legal graph. Ensures: same function; the scaled scores are no
    longer rounded to the build's dtype.
    """

    name = "fuse-softmax"

    def run(self, graph: Graph) -> Graph:
        """The fused graph."""
        uses = readers(graph)
        scales = {
            node.outputs[0]: node
            for node in graph.nodes
            if node.op == "scale" and [reader.op for reader in uses.get(node.outputs[0], [])] == ["softmax"]
        }
        nodes = []
        for node in graph.nodes:
            if node.op == "scale" and node.outputs[0] in scales:
                continue
            if node.op == "softmax" and node.inputs[0] in scales:
                scale = scales[node.inputs[0]]
                combined = node.number("scale") * scale.number("scale")
                kept = {**dict(node.attributes), "scale": combined}
                node = replace(node, inputs=(*scale.inputs, *node.inputs[1:]), attributes=attributes(**kept))
            nodes.append(node)
        return with_nodes(graph, nodes)
