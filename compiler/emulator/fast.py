"""The fast path: plans where the program is straight, and prompt tokens as a block where it loops.

A block is several rounds of the token loop at once, one lane each, so that
weights are read once for all of them. Rounds may be run together when they
run the same plan, and no lane reads from a cache what a later lane writes, or
writes later what an earlier lane should have read by then. The last round is
left where its plan ends: it need not come back, so the last prompt token,
after which control goes on to the first output, is a lane like the others.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from compiler.emulator.accesses import is_scalar
from compiler.emulator.bound import BoundPlan
from compiler.emulator.lanes import Lane
from compiler.emulator.plan import Plan, operands_of, pieces
from compiler.emulator.schedule import Unplannable
from compiler.emulator.semantics import SEMANTICS
from compiler.emulator.state import State
from compiler.emulator.trap import Trap
from compiler.isa.encode import Instruction
from compiler.isa.spec import Kind

BLOCK_LANES = 64
BLOCK_BYTES = 128 << 20
"""Most memory for the values of all lanes."""

MAX_SCALARS = 64
"""Most control instructions of one round of a loop that is looked at as a block."""


@dataclass(frozen=True, slots=True)
class _Round:
    """One round of a loop.

    Attributes:
        plan: the one it runs.
        registers: when the plan begins, and when it ends.
        reached: instructions up to the plan's end.
        steps: instructions until control is back at the loop's head; 0: it goes elsewhere.
    """

    plan: Plan
    registers: list[int]
    reached: int
    steps: int


class FastPath:
    """Plans of one program on one machine's state."""

    def __init__(self, program: tuple[Instruction, ...], state: State) -> None:
        self._program = program
        self._state = state
        self._plans: dict[int, Plan] = {}
        for begin, end in pieces(program):
            try:
                self._plans[begin] = Plan(program, begin, end, state)
            except (Unplannable, Trap):
                continue
        self._bound: dict[tuple[int, int], BoundPlan | None] = {}
        self._heads = {
            instr.integer(operand.name)
            for pc, instr in enumerate(program)
            for operand in instr.spec.operands
            if operand.kind is Kind.TARGET and instr.integer(operand.name) <= pc
        }
        self._hazards: dict[int, set[tuple[int, int, int, int, bool]] | None] = {}

    def advance(self, limit: int, breakpoints: Set[int] = frozenset()) -> int:
        """Run a plan, or a block of rounds, from the machine's pc on.

        Args:
            limit: most instructions to execute.
            breakpoints: instructions that must not be run past; the one at the machine's pc may.

        Returns:
            How many were executed; 0: the next one must be stepped through.
        """
        pc = self._state.pc
        if not breakpoints and pc in self._heads and (done := self._block(pc, limit)):
            return done
        plan = self._plans.get(pc)
        if plan is None or plan.end - plan.begin > limit or not plan.accepts(self._state):
            return 0
        if any(plan.begin < each < plan.end for each in breakpoints):
            return 0
        bound = self._bind(plan, 1)
        if bound is None or not bound.run([self._state.registers]):
            return 0
        self._state.pc = plan.end
        return plan.end - plan.begin

    def _bind(self, plan: Plan, lanes: int) -> BoundPlan | None:
        key = (plan.begin, lanes)
        if key not in self._bound:
            for other in [each for each in self._bound if each[0] == plan.begin and each[1] not in (1, BLOCK_LANES)]:
                del self._bound[other]  # the odd block at the end of an earlier prompt
            try:
                self._bound[key] = BoundPlan(plan, self._state, lanes)
            except Trap:
                self._bound[key] = None
        return self._bound[key]

    def _block(self, head: int, limit: int) -> int:
        """Run as many equal rounds of the loop at `head` as possible together; 0 for fewer than two."""
        rounds = self._rounds(head, limit)
        if len(rounds) < 2 or not rounds[0].plan.accepts(self._state):
            return 0
        bound = self._bind(rounds[0].plan, len(rounds))
        if bound is None or not bound.run([list(each.registers) for each in rounds]):
            return 0
        last = rounds[-1]
        self._state.registers = list(last.registers)
        self._state.pc = last.plan.end
        return sum(each.steps for each in rounds[:-1]) + last.reached

    def _rounds(self, head: int, limit: int) -> list[_Round]:
        """The next rounds, up to BLOCK_LANES, in which control leads to the same plan and, but for the last, back."""
        scout = Lane(self._state, self._state.lmu)
        scout.registers = list(self._state.registers)
        rounds: list[_Round] = []
        most = BLOCK_LANES
        while len(rounds) < most:
            found = self._round(head, scout)
            if found is None or (rounds and found.plan is not rounds[0].plan) or found.reached > limit:
                break
            if not rounds:
                if found.plan.schedule.entry:
                    break
                size = 4 * found.plan.elements * len(self._state.lmu)
                most = max(1, min(BLOCK_LANES, BLOCK_BYTES // size))
            rounds.append(found)
            limit -= found.steps
            if not found.steps:
                break
        while rounds and not self._independent([each.registers for each in rounds], rounds[0].plan):
            rounds.pop()
        return rounds

    def _round(self, head: int, scout: Lane) -> _Round | None:
        """Follow control from `head` through one plan, and on until it comes back; None when there is no plan."""
        scout.pc = head
        plan: Plan | None = None
        registers: list[int] = []
        steps = reached = 0
        for _ in range(MAX_SCALARS):
            pc = scout.pc
            if plan is not None and pc == head:
                return _Round(plan, registers, reached, steps)
            if plan is None and pc in self._plans:
                plan, registers = self._plans[pc], list(scout.registers)
                scout.pc = plan.end
                steps = reached = steps + plan.end - plan.begin
                continue
            if not self._step_scalar(scout):
                break
            steps += 1
        return None if plan is None else _Round(plan, registers, reached, 0)

    def _step_scalar(self, scout: Lane) -> bool:
        """Execute the instruction at the scout's pc if it is scalar; False for another one, or a fault."""
        pc = scout.pc
        if not 0 <= pc < len(self._program) or not is_scalar(self._program[pc]):
            return False
        scout.pc = pc + 1
        try:
            SEMANTICS[self._program[pc].mnemonic](scout, operands_of(self._program[pc]))
        except Trap:
            return False
        return True

    def _independent(self, registers: list[list[int]], plan: Plan) -> bool:
        """Whether running the lanes together is running them one after the other."""
        if any(
            not extent.allows(lane) or lane[extent.register] < before[extent.register]
            for extent in plan.extents
            for before, lane in zip([registers[0], *registers], registers, strict=False)
        ):
            return False
        hazards = self._cache_hazards(plan)
        if hazards is None:
            return False
        for at_register, begin, count, count_register, written_first in hazards:
            at = np.array([lane[at_register] for lane in registers]) - begin
            seen = np.array([lane[count_register] if count_register else count for lane in registers])
            reads = (at[None, :] >= 0) & (at[None, :] < seen[:, None])  # [reader, writer]
            wrong = np.triu(reads, 1) if written_first else np.tril(reads, -1)
            if wrong.any():
                return False
        return True

    def _cache_hazards(self, plan: Plan) -> set[tuple[int, int, int, int, bool]] | None:
        """(position register, first token, tokens, their register, write comes first) of all pairs; None: unknown."""
        if plan.begin not in self._hazards:
            self._hazards[plan.begin] = self._find_hazards(plan)
        return self._hazards[plan.begin]

    def _find_hazards(self, plan: Plan) -> set[tuple[int, int, int, int, bool]] | None:
        found: set[tuple[int, int, int, int, bool]] = set()
        memory = self._state.memory
        by_region: dict[str, list[tuple[int, bool]]] = {}
        for access in plan.schedule.accesses:
            by_region.setdefault(access.region, []).append((access.pc, access.written))
        for users in by_region.values():
            for written_pc in (pc for pc, written in users if written):
                at = operands_of(self._program[written_pc]).at
                for pc in (pc for pc, written in users if not written):
                    if self._program[pc].mnemonic != "rd.kv":
                        return None
                    o = operands_of(self._program[pc])
                    place = memory.place(o.hbm)
                    tokens = (
                        (place.row, o.rows, o.rows_reg)
                        if place.region.kind == "key"
                        else (place.col, o.cols, o.cols_reg)
                    )
                    found.add((at, *tokens, written_pc < pc))
        return found
