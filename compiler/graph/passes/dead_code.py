"""Dead code and redundant moves: what nobody reads, what is computed twice, what only passes its input on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.graph.ir import Graph, Node
from compiler.graph.rewrite import with_nodes

_EFFECTS = ("write_key", "write_value", "sample")
"""They have no outputs and are never dead; caches make their readers different from layer to layer."""


@dataclass(frozen=True, slots=True)
class DeadCode:
    """Drops nodes without a reader, second copies of a node, and multiplications by one.

    Requires: a legal graph. Ensures: same function, same rounding.
    """

    name = "dead-code"

    def run(self, graph: Graph) -> Graph:
        """The graph without them."""
        renamed: dict[str, str] = {}
        made: dict[tuple[object, ...], Node] = {}
        kept: list[Node] = []
        for node in graph.nodes:
            node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
            if node.op == "scale" and node.number("scale") == 1.0:
                renamed[node.outputs[0]] = node.inputs[0]
                continue
            first = made.setdefault((node.op, node.inputs, node.parameters, node.attributes), node)
            if first is not node and node.op not in _EFFECTS:
                renamed.update(zip(node.outputs, first.outputs, strict=True))
                continue
            kept.append(node)
        return with_nodes(graph, _read(kept))


def _read(nodes: list[Node]) -> list[Node]:
    """The nodes that an effect depends on."""
    needed: set[str] = set()
    found = []
    for node in reversed(nodes):
        if node.op in _EFFECTS or needed & {*node.outputs}:
            needed.update(node.inputs)
            found.append(node)
    return found[::-1]
