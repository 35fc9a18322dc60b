"""Phase 4 in one call: lower, allocate, verify, and say what stands behind each instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.debug_info import DebugInfo, Node, PassReport
from compiler.graph.ir import Graph
from compiler.isa.encode import Instruction
from compiler.mapping.plan import Mapping
from compiler.program.allocate import allocate
from compiler.program.lower import lower
from compiler.program.verify import verify_allocation, verify_program


@dataclass(frozen=True, slots=True)
class Program:
    """A verified program.

    Attributes:
        tables: activation functions by Hugging Face name; table 1 is the first.
        used_elements: LMU elements in use at the fullest moment.
    """

    instructions: tuple[Instruction, ...]
    tables: tuple[str, ...]
    debug: DebugInfo
    used_elements: int


def build_program(
    graph: Graph, mapping: Mapping, lmu_elements: int, reports: Sequence[tuple[str, int, int]] = ()
) -> Program:
    """Lower a mapped graph to a program.

    Args:
        lmu_elements: capacity of the vector register file in elements of the build's dtype.
        reports: what the graph passes did, for the debug information.

    Raises:
        CapacityError: the values alive at one time exceed the LMU.
        VerificationError: the program is illegal, which is our mistake.
    """
    virtual = lower(graph, mapping)
    allocation = allocate(virtual, lmu_elements)
    verify_program(allocation.instructions, mapping.memory_map, lmu_elements, len(virtual.tables))
    verify_allocation(allocation.instructions, virtual, lmu_elements)
    debug = DebugInfo(
        nodes=tuple(Node(node.name, node.op, node.source) for node in graph.nodes),
        instruction_nodes=tuple(instr.node for instr in virtual.instructions),
        regions=tuple(instr.region for instr in virtual.instructions),
        labels=virtual.labels,
        values=allocation.values,
        passes=tuple(PassReport(*report) for report in reports),
    )
    return Program(allocation.instructions, virtual.tables, debug, allocation.used_elements)
