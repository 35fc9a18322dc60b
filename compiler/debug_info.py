"""Debug information of a program: which node, region and live range stands behind each instruction.

Values only: the compiler makes them, `artifacts.debug` is their form in a file,
faults, listings and the app read them. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.source import SourceRef


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph as it was lowered: its name, its op and where it comes from."""

    name: str
    op: str
    source: SourceRef

    def __str__(self) -> str:
        return str(self.source) or self.name


@dataclass(frozen=True, slots=True)
class LiveRange:
    """A value in the LMU: elements [begin, end), alive for pc in [first_pc, last_pc]."""

    name: str
    begin: int
    end: int
    first_pc: int
    last_pc: int


@dataclass(frozen=True, slots=True)
class PassReport:
    """A pass over the graph or the program: number of nodes or instructions before and after."""

    name: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class LayerBegin:
    """The instruction from which on a decoder layer is computed, or with -1 what no layer holds."""

    begin: int
    layer: int


@dataclass(frozen=True, slots=True)
class DebugInfo:
    """What is known about a program beside its words.

    Attributes:
        nodes: graph nodes.
        instruction_nodes: index into `nodes` per instruction, -1 for none.
        regions: name of the region each instruction reads or writes, or "".
        labels: name -> instruction index.
        values: live ranges in the LMU.
        passes: what each pass did.
    """

    nodes: tuple[Node, ...] = ()
    instruction_nodes: tuple[int, ...] = ()
    regions: tuple[str, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)
    values: tuple[LiveRange, ...] = ()
    passes: tuple[PassReport, ...] = ()

    def node_of(self, pc: int) -> Node | None:
        """The node behind instruction `pc`, if it is known."""
        if not 0 <= pc < len(self.instruction_nodes):
            return None
        index = self.instruction_nodes[pc]
        return self.nodes[index] if 0 <= index < len(self.nodes) else None


def layer_begins(debug: DebugInfo) -> tuple[LayerBegin, ...]:
    """The borders that cut a program into prologue, layers and what follows the last one.

    A layer begins at its first instruction; instructions of other layers in between do not end it.
    """
    if not debug.instruction_nodes:
        return ()
    layer_of_node = [node.source.layer for node in debug.nodes]
    found = [LayerBegin(0, -1)]
    newest, last = -1, -1
    for pc, node in enumerate(debug.instruction_nodes):
        layer = layer_of_node[node] if node >= 0 else -1
        if layer > newest:
            newest = layer
            found.append(LayerBegin(pc, layer))
        if layer >= 0:
            last = pc
    if newest >= 0 and last + 1 < len(debug.instruction_nodes):
        found.append(LayerBegin(last + 1, -1))
    return tuple(found[1:] if len(found) > 1 and found[1].begin == 0 else found)
