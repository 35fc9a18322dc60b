"""Phase 4 in one call: lower, allocate, verify, and say what stands behind each instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compiler.debug_info import DebugInfo, Node, PassReport
from compiler.errors import CapacityError
from compiler.graph.ir import Graph
from compiler.isa.encode import Instruction
from compiler.mapping.plan import Mapping
from compiler.program.allocate import Placement, place_buffers, resolve
from compiler.program.blocks import Blocks, take_apart
from compiler.program.lower import lower
from compiler.program.schedule import Overlap
from compiler.program.virtual import VirtualProgram
from compiler.target.timing import Rules


@dataclass(frozen=True, slots=True)
class Program:
    """A verified program.

    Attributes:
        tables: activation functions by Hugging Face name; table 1 is the first.
        used_elements: LMU elements in use at the fullest moment.
        moved: instructions that the overlap pass put elsewhere.
        overlap: that pass, with the window that the LMU had room for; None for none.
    """

    instructions: tuple[Instruction, ...]
    tables: tuple[str, ...]
    debug: DebugInfo
    used_elements: int
    moved: int
    overlap: Overlap | None


def build_program(
    graph: Graph,
    mapping: Mapping,
    lmu_elements: int,
    rules: Rules,
    overlap: Overlap | None,
    reports: Sequence[tuple[str, int, int]] = (),
) -> Program:
    """Lower a mapped graph to a program.

    Args:
        lmu_elements: capacity of the vector register file in elements of the build's dtype.
        rules: latency rules, by which instructions are reordered.
        overlap: the reordering, None to keep program order.
        reports: what the graph passes did, for the debug information.

    Raises:
        CapacityError: the values alive at one time exceed the LMU.
        VerificationError: the program is illegal, which is our mistake.
    """
    from compiler.program.verify import verify_allocation, verify_program
    from compiler.program.verify_order import verify_order

    lowered = lower(graph, mapping)
    virtual, placement, overlap = order(take_apart(lowered), lmu_elements, rules, overlap)
    allocation = resolve(virtual, placement)
    verify_program(allocation.instructions, mapping.memory_map, lmu_elements, len(virtual.tables))
    verify_allocation(allocation.instructions, virtual, lmu_elements)
    verify_order(allocation.instructions, mapping.memory_map, lmu_elements)
    moved = sum(a is not b for a, b in zip(lowered.instructions, virtual.instructions, strict=True))
    passes = [PassReport(*report) for report in reports]
    if overlap is not None:
        passes.append(PassReport(overlap.name, len(lowered.instructions), len(virtual.instructions)))
    debug = DebugInfo(
        nodes=tuple(Node(node.name, node.op, node.source) for node in graph.nodes),
        instruction_nodes=tuple(instr.node for instr in virtual.instructions),
        regions=tuple(instr.region for instr in virtual.instructions),
        labels=virtual.labels,
        values=allocation.values,
        passes=tuple(passes),
    )
    return Program(allocation.instructions, virtual.tables, debug, allocation.used_elements, moved, overlap)


def order(
    blocks: Blocks, lmu_elements: int, rules: Rules, overlap: Overlap | None
) -> tuple[VirtualProgram, Placement, Overlap | None]:
    """Reorder as far ahead as the LMU has room for what is then alive at one time.

    Raises:
        CapacityError: it has not even room for the program as it was lowered.
    """
    while overlap is not None and overlap.window > 1:
        try:
            virtual = overlap.run(blocks, rules)
            return virtual, place_buffers(virtual, lmu_elements), overlap
        except CapacityError:
            overlap = replace(overlap, window=overlap.window // 2)
    return blocks.program, place_buffers(blocks.program, lmu_elements), None
