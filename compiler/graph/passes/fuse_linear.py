"""Kernel fusion into the matrix instruction: bias, rotation and activation on its way out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.graph.ir import Graph, Node, attributes
from compiler.graph.rewrite import readers, with_nodes

_ORDER = {"linear": 0, "bias": 1, "rope": 2, "act": 3, "expert": 2}
"""What a matrix instruction does, one after the other; an expert's has its own bias and is rotated by nothing."""

_MATRICES = ("linear", "expert")


@dataclass(frozen=True, slots=True)
class FuseLinear:
    """linear, bias, rope, act in a row become one linear; expert, act one expert.

    Requires: a legal graph. Ensures: same function; each intermediate had one
    reader and is no longer rounded to the build's dtype.
    """

    bias: bool = True
    rope: bool = True
    act: bool = True

    name = "fuse-linear"

    def run(self, graph: Graph) -> Graph:
        """The fused graph."""
        allowed = {"bias": self.bias, "rope": self.rope, "act": self.act}
        uses = readers(graph)
        fused: dict[str, Node] = {}  # last node of a chain -> its replacement
        dropped: set[str] = set()
        for node in graph.nodes:
            if node.op not in _MATRICES:
                continue
            chain = [node]
            while True:
                followers = uses.get(chain[-1].outputs[0], [])
                if len(followers) != 1 or not allowed.get(followers[0].op, False):
                    break
                if _ORDER[followers[0].op] <= _ORDER[chain[-1].op]:
                    break
                if followers[0].inputs[0] != chain[-1].outputs[0]:
                    break
                chain.append(followers[0])
            if len(chain) > 1:
                dropped.update(link.outputs[0] for link in chain[:-1])
                fused[chain[-1].outputs[0]] = _merge(chain)
        nodes = []
        for node in graph.nodes:
            if node.outputs and node.outputs[0] in dropped:
                continue
            nodes.append(fused.get(node.outputs[0], node) if node.outputs else node)
        return with_nodes(graph, nodes)


def _merge(chain: list[Node]) -> Node:
    head = chain[0]
    inputs, parameters = list(head.inputs), list(head.parameters)
    values = dict(head.attributes)
    for link in chain[1:]:
        if link.op == "bias":
            parameters.append(("bias", link.parameter("bias")))
        elif link.op == "rope":
            inputs.append(link.inputs[1])
            values.update(rotary_dim=link.integer("rotary_dim"), style=link.integer("style"))
        else:
            values["act"] = link.text("act")
    return replace(
        head,
        inputs=tuple(inputs),
        outputs=chain[-1].outputs,
        parameters=tuple(parameters),
        attributes=attributes(**values),
    )
