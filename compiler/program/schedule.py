"""Layer reordering: a list scheduler over the dependence graph.

In: a virtual program and the latency rules of its target. Out: the same
instructions in another order, each still behind everything it depends on. The
softmax of one head moves under the matrix work of the next, transfers start
as soon as their slice is ready, and each stream is opened right before the
instruction that reads it, which keeps the order in which memory is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from compiler.isa.instructions import BY_MNEMONIC
from compiler.isa.spec import Kind, Unit
from compiler.program.demand import OPENERS, Scoreboard
from compiler.program.dependence import dependences
from compiler.program.predict import Prediction
from compiler.program.virtual import VirtualInstruction, VirtualProgram
from compiler.target.timing import Rules


@dataclass(frozen=True, slots=True)
class Overlap:
    """Reorders within the blocks between labels and branches.

    Requires: a lowered program. Ensures: every dependence still points
    backwards; labels and branches keep their places.

    Attributes:
        window: how many instructions ahead of the oldest waiting one may overtake it; bounds
            what is alive in the LMU at one time.
        tokens: length of the text for which costs are taken.
    """

    window: int = 24
    tokens: int = 1024

    name = "overlap"

    def __str__(self) -> str:
        return f"{self.name} window={self.window}"

    def run(self, program: VirtualProgram, rules: Rules) -> VirtualProgram:
        """The reordered program."""
        instructions = program.instructions
        fences = {0, len(instructions), *program.labels.values()}
        for index, instr in enumerate(instructions):
            if BY_MNEMONIC[instr.mnemonic].unit is Unit.ICP:
                fences |= {index, index + 1}
        edges = sorted(fences)
        ordered: list[VirtualInstruction] = []
        for begin, end in pairwise(edges):
            block = instructions[begin:end]
            ordered.extend(_schedule(block, rules, self) if len(block) > 2 else block)
        return replace(program, instructions=tuple(ordered))


def _schedule(block: Sequence[VirtualInstruction], rules: Rules, options: Overlap) -> list[VirtualInstruction]:
    """One block in the order in which its units can start soonest."""
    before = dependences(block)
    opened_by = _openers(block)
    movable = [index for index, instr in enumerate(block) if instr.mnemonic not in OPENERS]
    needs = {index: _without_openers(index, before, opened_by.get(index, ())) for index in movable}
    board, prediction = Scoreboard(rules, options.tokens), Prediction(rules)
    units = [BY_MNEMONIC[instr.mnemonic].unit for instr in block]
    waiting = list(movable)
    placed: dict[int, int] = {}
    ordered: list[VirtualInstruction] = []
    while waiting:
        best, best_start = waiting[0], math.inf
        for index in waiting[: options.window]:
            if not needs[index] <= placed.keys():
                continue
            start = prediction.earliest(units[index], (placed[need] for need in needs[index]))
            if start < best_start:
                best, best_start = index, start
        for index in (*opened_by.get(best, ()), best):
            placed[index] = len(ordered)
            prediction.append(board.show(block[index]))
            ordered.append(block[index])
        waiting.remove(best)
    return ordered


def _openers(block: Sequence[VirtualInstruction]) -> dict[int, tuple[int, ...]]:
    """For each reader of streams the instructions that open them."""
    opened: dict[object, int] = {}
    found: dict[int, tuple[int, ...]] = {}
    for index, instr in enumerate(block):
        given = dict(instr.operands)
        if instr.mnemonic in OPENERS:
            opened[given["stream"]] = index
            continue
        streams = [o.name for o in BY_MNEMONIC[instr.mnemonic].operands if o.kind is Kind.STREAM and o.name != "out"]
        read = [opened.pop(given[name]) for name in streams if given.get(name) in opened]
        if read:
            found[index] = tuple(sorted(read))
    return found


def _without_openers(index: int, before: list[set[int]], openers: Sequence[int]) -> set[int]:
    """What an instruction and the streams it reads depend on, other than each other."""
    needed = set(before[index])
    for opener in openers:
        needed |= before[opener]
    return needed - set(openers)
