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
from itertools import islice

from compiler.program.blocks import Block, Blocks
from compiler.program.predict import Prediction
from compiler.program.virtual import VirtualProgram
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

    def run(self, blocks: Blocks, rules: Rules) -> VirtualProgram:
        """The reordered program."""
        return reordered(blocks.program, self.order(blocks, rules))

    def order(self, blocks: Blocks, rules: Rules) -> list[int]:
        """For each place of the program the number of the instruction that comes there."""
        order = list(range(len(blocks.program.instructions)))
        works = blocks.kinds.works(rules, self.tokens)
        for block in blocks.blocks:
            prediction = Prediction(rules, works, len(order))
            placed = _schedule(block, prediction, self.window)
            order[min(placed) : max(placed) + 1] = placed
        return order


def reordered(program: VirtualProgram, order: Sequence[int]) -> VirtualProgram:
    """A program with its instructions in another order."""
    return replace(program, instructions=tuple([program.instructions[number] for number in order]))


def _schedule(block: Block, prediction: Prediction, window: int) -> list[int]:
    """One block in the order in which its units can start soonest."""
    demands, free = block.demands, prediction.free
    missing = dict(block.needs)
    floor = dict.fromkeys(block.movable, 0)
    waiting = list(block.movable)
    ordered: list[int] = []
    while waiting:
        best, best_start = waiting[0], math.inf
        for number in islice(waiting, window):
            if not missing[number]:
                start = max(free[demands[number].unit], floor[number])
                if start < best_start:
                    best, best_start = number, start
        waiting.remove(best)
        for number in (*block.openers.get(best, ()), best):
            prediction.place(number, demands[number])
            ordered.append(number)
            for later in block.needed_by.get(number, ()):
                missing[later] -= 1
                floor[later] = max(floor[later], prediction.known_to(demands[later].unit)[number])
    return ordered
