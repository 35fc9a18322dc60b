"""Two programs side by side: aligned by the operations of their graphs, with what differs in each.

An operation is a graph node and the instructions it was lowered to, which the
overlap pass may have spread. Nodes of both programs are paired by name and kept
in program order; a name that only one has stands where that program has it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.header import HEADER_BYTES
from compiler.isa.encode import Instruction
from compiler.isa.spec import Kind
from hyperdex_tui.backend.inspection.cycles import token_cycles
from hyperdex_tui.backend.inspector import TIMED_LIMIT
from hyperdex_tui.backend.program import Program

_PLACES = (Kind.LMU, Kind.HBM, Kind.STREAM, Kind.REGISTER, Kind.TARGET, Kind.IO)
"""Operands that say where something lies, which may differ without anything being done differently."""

CONTROL = "control flow"


@dataclass(frozen=True, slots=True)
class Operation:
    """A node of one program.

    Attributes:
        first, last: its first and last instruction; others may lie in between.
        count: its instructions.
        cycles: for which they keep their units, None when unknown.
        shape: what they do, without addresses.
    """

    name: str
    op: str
    layer: int
    first: int
    last: int
    count: int
    cycles: float | None
    shape: tuple[tuple[str, tuple[int | float, ...]], ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """An operation of both programs, or of one of them.

    Attributes:
        change: "same", "operands" (other sizes), "instructions" (others), "left" or "right" (only there).
    """

    change: str
    left: Operation | None
    right: Operation | None


def timed_operations(program: Program, position: int) -> tuple[list[Operation], float]:
    """The operations of a program by their first instruction, and the cycles of the token at `position`.

    Raises:
        ValueError: the program is too long, or has no debug information.
    """
    if program.tables is None:
        raise ValueError(f"{program.folder.name} cannot be aligned: {program.note}")
    if program.count > TIMED_LIMIT:
        raise ValueError(
            f"at most {TIMED_LIMIT:,} instructions are compared, {program.folder.name} has {program.count:,}"
        )
    times = token_cycles(program, program.words[HEADER_BYTES:], position)
    busy = np.nan_to_num(times[:, 1] - times[:, 0])
    members: dict[int, list[int]] = {}
    for pc in range(program.count):
        members.setdefault(program.node_index(pc), []).append(pc)
    found = [_operation(program, node, pcs, float(busy[pcs].sum())) for node, pcs in members.items()]
    return found, float(np.nanmax(times[:, 1], initial=0.0))


def _operation(program: Program, node: int, pcs: list[int], cycles: float) -> Operation:
    shape = tuple(_shape(program.instruction(pc)) for pc in pcs)
    found = program.node_at(node) if node >= 0 else None
    name, op, layer = (found.name, found.op, found.source.layer) if found is not None else (CONTROL, "control", -1)
    return Operation(name, op, layer, pcs[0], pcs[-1], len(pcs), cycles, shape)


def _shape(instr: Instruction | None) -> tuple[str, tuple[int | float, ...]]:
    if instr is None:
        return ("?", ())
    sizes = (value for op, value in zip(instr.spec.operands, instr.values, strict=True) if op.kind not in _PLACES)
    return instr.mnemonic, tuple(sizes)


def align(left: Sequence[Operation], right: Sequence[Operation]) -> list[Pair]:
    """Pairs in the order of both programs; where they disagree, as many as possible keep their order."""
    where = {name: index for index, name in enumerate(_keys(right))}
    common = [(index, where[name]) for index, name in enumerate(_keys(left)) if name in where]
    anchors = _longest_ascending(common)
    pairs: list[Pair] = []
    at_left = at_right = 0
    for next_left, next_right in [*anchors, (len(left), len(right))]:
        pairs += [Pair("left", each, None) for each in left[at_left:next_left]]
        pairs += [Pair("right", None, each) for each in right[at_right:next_right]]
        if next_left < len(left):
            pairs.append(_paired(left[next_left], right[next_right]))
        at_left, at_right = next_left + 1, next_right + 1
    return pairs


def _keys(operations: Sequence[Operation]) -> list[tuple[str, int]]:
    """Names, numbered where one comes twice."""
    seen: dict[str, int] = {}
    keys = []
    for each in operations:
        seen[each.name] = seen.get(each.name, -1) + 1
        keys.append((each.name, seen[each.name]))
    return keys


def _paired(left: Operation, right: Operation) -> Pair:
    if left.shape == right.shape:
        return Pair("same", left, right)
    names = [tuple(name for name, _ in each.shape) for each in (left, right)]
    return Pair("operands" if names[0] == names[1] else "instructions", left, right)


def _longest_ascending(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of pairs, ascending on the left, that ascends on the right, too."""
    tails: list[int] = []
    ends: list[int] = []
    before = [-1] * len(pairs)
    for index, (_, value) in enumerate(pairs):
        at = bisect_left(tails, value)
        before[index] = ends[at - 1] if at else -1
        tails[at : at + 1], ends[at : at + 1] = [value], [index]
    found = []
    index = ends[-1] if ends else -1
    while index >= 0:
        found.append(pairs[index])
        index = before[index]
    return found[::-1]
