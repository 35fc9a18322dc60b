"""Layer reordering: a list scheduler over the dependence graph.

In: a virtual program and the latency rules of its target. Out: the same
instructions in another order, each still behind everything it depends on. The
softmax of one head moves under the matrix work of the next, transfers start
as soon as their slice is ready, and each stream is opened right before the
instruction that reads it, which keeps the order in which memory is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from compiler.isa.spec import BY_MNEMONIC, Kind, Unit
from compiler.program.dependence import dependences
from compiler.program.virtual import VirtualInstruction, VirtualProgram
from compiler.target.timing import Rules, Work

_OPENERS = ("rd.param", "rd.kv")


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
    movable = [index for index, instr in enumerate(block) if instr.mnemonic not in _OPENERS]
    needs = {index: _without_openers(index, before, opened_by.get(index, ())) for index in movable}
    state = _Timeline(block, rules, options.tokens, opened_by)
    waiting = list(movable)
    done: set[int] = set()
    ordered: list[VirtualInstruction] = []
    while waiting:
        best, best_start = waiting[0], float("inf")
        for index in waiting[: options.window]:
            if not needs[index] <= done:
                continue
            start = state.start(index, needs[index])
            if start < best_start - 0.5:
                best, best_start = index, start
        state.place(best, needs[best])
        ordered.extend(block[opener] for opener in opened_by.get(best, ()))
        ordered.append(block[best])
        done.add(best)
        done.update(opened_by.get(best, ()))
        waiting.remove(best)
    return ordered


def _openers(block: Sequence[VirtualInstruction]) -> dict[int, tuple[int, ...]]:
    """For each reader of streams the instructions that open them."""
    opened: dict[object, int] = {}
    found: dict[int, tuple[int, ...]] = {}
    for index, instr in enumerate(block):
        given = dict(instr.operands)
        if instr.mnemonic in _OPENERS:
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


class _Timeline:
    """When each unit is free and each result ready; the scheduler's own clock."""

    def __init__(
        self, block: Sequence[VirtualInstruction], rules: Rules, tokens: int, openers: dict[int, tuple[int, ...]]
    ) -> None:
        self.block, self.rules, self.tokens, self.openers = block, rules, tokens, openers
        self.free: dict[Unit, float] = dict.fromkeys(Unit, 0.0)
        self.ready: dict[int, float] = {}

    def start(self, index: int, needs: set[int]) -> float:
        """Earliest start of an instruction whose needs are placed."""
        unit = BY_MNEMONIC[self.block[index].mnemonic].unit
        return max(self.free[unit], max((self.ready.get(need, 0.0) for need in needs), default=0.0))

    def place(self, index: int, needs: set[int]) -> None:
        """Run an instruction at its earliest start."""
        cycles, latency = self.cost(index)
        unit = BY_MNEMONIC[self.block[index].mnemonic].unit
        end = self.start(index, needs) + cycles
        self.free[unit] = end
        self.ready[index] = end + latency

    def cost(self, index: int) -> tuple[float, float]:
        """Cycles on the unit and latency, the streams it reads included."""
        instr = self.block[index]
        work = self._work(instr)
        streamed = sum(self._work(self.block[opener]).stream_bytes for opener in self.openers.get(index, ()))
        return max(work.cycles, self.rules.stream_cycles(streamed + work.stream_bytes)), work.latency

    def _work(self, instr: VirtualInstruction) -> Work:
        given = dict(instr.operands)

        def operand(name: str) -> int:
            value = given.get(name, 0)
            return int(value) if isinstance(value, int | float) else 0

        return self.rules.work(BY_MNEMONIC[instr.mnemonic], operand, self.tokens)
