"""Debug information of a program: which node, region and live range stands behind each instruction.

Values only: the compiler makes them, `artifacts.debug` is their JSON form,
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
class DebugInfo:
    """What debug.json holds.

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
