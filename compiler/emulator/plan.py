"""Plans: straight pieces of the program, resolved once and run with few calls.

A plan does to the machine what stepping through its piece does, bit for bit,
or nothing at all: it says no before anything happened, and when a Trap comes
up it takes back what it wrote to the caches. The machine then steps, and the
fault is found where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from compiler.emulator.accesses import is_control, spans
from compiler.emulator.arithmetic import Vector
from compiler.emulator.batches import Scratch, bind_group, group_key
from compiler.emulator.lanes import Lane
from compiler.emulator.schedule import Node, Schedule, Unplannable, Version
from compiler.emulator.state import State
from compiler.emulator.trap import Trap
from compiler.isa.encode import Instruction
from compiler.isa.spec import Kind

MIN_INSTRUCTIONS = 4
"""A shorter piece is stepped through."""


def operands_of(instr: Instruction) -> SimpleNamespace:
    """Operands by name, as the functions of `semantics` take them."""
    return SimpleNamespace(
        **{operand.name: value for operand, value in zip(instr.spec.operands, instr.values, strict=True)}
    )


class Plan:
    """program[begin:end] without control.

    Attributes:
        begin, end: the piece.
        schedule: its nodes.
        groups: nodes that run with one call, in the order of execution.

    Raises:
        Unplannable: the piece must be stepped through.
    """

    def __init__(self, program: tuple[Instruction, ...], begin: int, end: int, state: State) -> None:
        self.program = program
        self.begin = begin
        self.end = end
        self.schedule = Schedule(program, begin, end, state.memory.memory_map)
        self.groups = _group(program, self.schedule.nodes)
        self.elements = max(1, self.schedule.place(self.groups))
        limit = state.written.shape[0]
        everything = [span for pc in range(begin, end) for span in spans(program[pc])]
        if any(span.begin + span.count > limit for span in everything):
            raise Unplannable
        self.extents = sorted({(span.register, span.count) for span in everything if span.register})
        self.cache_writes = [pc for pc in range(begin, end) if program[pc].mnemonic in ("wr.key", "wr.value")]

    def accepts(self, state: State) -> bool:
        """Whether the state is what the plan was made for, as far as that must be asked."""
        registers = state.registers
        return (
            not any(state.streams)
            and not state.link.in_flight
            and all(0 < registers[register] <= count for register, count in self.extents)
            and all(state.written[each.begin : each.begin + each.count].all() for each in self.schedule.entry)
        )


class BoundPlan:
    """A plan with storage for a number of lanes.

    Attributes:
        lanes: one per token.
        storage: float32 [lanes, devices, elements].
    """

    def __init__(self, plan: Plan, state: State, count: int) -> None:
        self.plan = plan
        self._state = state
        self.storage: Vector = np.zeros((count, len(state.lmu), plan.elements), dtype=np.float32)
        self.lanes = [Lane(state, list(rows)) for rows in self.storage]
        renamed = {pc: operands_of(plan.program[pc]) for pc in range(plan.begin, plan.end)}
        for node in plan.schedule.nodes:
            for (pc, name), (version, offset) in node.operands.items():
                setattr(renamed[pc], name, version.address + offset)
        scratch = Scratch()
        self._calls: list[Callable[[], None]] = [
            bind_group(group, plan.program, renamed, self.lanes, self.storage, scratch) for group in plan.groups
        ]
        self._entry = [(each.begin, each.begin + each.count, each.address) for each in plan.schedule.entry]
        self._shown = _merged(plan.schedule.shown)
        self._writes = [(self._write_of(pc), operands_of(plan.program[pc])) for pc in plan.cache_writes]

    def _write_of(self, pc: int) -> tuple[object, int, int]:
        operands = operands_of(self.plan.program[pc])
        place = self._state.memory.place(operands.hbm)
        return self._state.memory.cache(place.region.name), place.head, operands.heads

    def run(self, registers: list[list[int]]) -> bool:
        """Run all lanes; False when the piece must be stepped through instead, nothing having happened.

        Args:
            registers: of each lane, in the order of the tokens.
        """
        positions = self._fresh_positions(registers)
        if positions is None:
            return False
        for begin, end, address in self._entry:
            for device, lmu in enumerate(self._state.lmu):
                self.storage[:, device, address : address + end - begin] = lmu[begin:end]
        for lane, values in zip(self.lanes, registers, strict=True):
            lane.registers = values
        try:
            for call in self._calls:
                call()
        except Trap:
            self._take_back(positions)
            return False
        self._show()
        return True

    def _fresh_positions(self, registers: list[list[int]]) -> list[tuple[object, int, int, list[int]]] | None:
        """Cache positions that will be written, None when one of them already is, or two lanes write the same."""
        found: list[tuple[object, int, int, list[int]]] = []
        for (cache, head, heads), operands in self._writes:
            at = [values[operands.at] for values in registers]
            written = cache.written[head]  # type: ignore[attr-defined]
            if any(not 0 <= each < written.shape[0] or written[each] for each in at) or len(set(at)) < len(at):
                return None
            found.append((cache, head, heads, at))
        return found

    def _take_back(self, positions: list[tuple[object, int, int, list[int]]]) -> None:
        for cache, head, heads, at in positions:
            cache.written[head : head + heads, at] = False  # type: ignore[attr-defined]
        self._state.link.clear()
        for lane in self.lanes:
            lane.streams = [None] * len(lane.streams)

    def _show(self) -> None:
        """Copy what the last lane left to the machine's LMU."""
        registers, last = self.lanes[-1].registers, self.storage[-1]
        written = self._state.written
        for begin, count, address, register, offset in self._shown:
            if register:
                count = min(count, registers[register] - offset)
                if count <= 0:
                    continue
            for lmu, values in zip(self._state.lmu, last, strict=True):
                lmu[begin : begin + count] = values[address : address + count]
            written[begin : begin + count] = True


def _group(program: tuple[Instruction, ...], nodes: list[Node]) -> list[list[Node]]:
    """Nodes of one level and one key run together; the rest one by one."""
    groups: dict[tuple[object, ...], list[Node]] = {}
    for index, node in enumerate(nodes):
        key = group_key(program, node)
        groups.setdefault((node.level, key) if key is not None else (node.level, None, index), []).append(node)
    return sorted(groups.values(), key=lambda group: (group[0].level, group[0].pcs[-1]))


def _merged(shown: list[tuple[Version, int, int]]) -> list[tuple[int, int, int, int, int]]:
    """(LMU element, count, address, register, offset in its version); neighbours in both places become one."""
    merged: list[tuple[int, int, int, int, int]] = []
    for version, begin, count in shown:
        if version.node < 0:
            continue
        offset = begin - version.begin
        address = version.address + offset
        if merged and not version.register and not merged[-1][3]:
            last_begin, last_count, last_address = merged[-1][:3]
            if last_begin + last_count == begin and last_address + last_count == address:
                merged[-1] = (last_begin, last_count + count, last_address, 0, 0)
                continue
        merged.append((begin, count, address, version.register, offset))
    return merged


def pieces(program: tuple[Instruction, ...]) -> list[tuple[int, int]]:
    """Straight pieces without control; a branch target begins a new one."""
    targets = {
        instr.integer(operand.name)
        for instr in program
        for operand in instr.spec.operands
        if operand.kind is Kind.TARGET
    }
    found = []
    begin = 0
    for pc, instr in enumerate(program):
        if pc in targets or is_control(instr):
            if pc - begin >= MIN_INSTRUCTIONS:
                found.append((begin, pc))
            begin = pc + 1 if is_control(instr) else pc
    if len(program) - begin >= MIN_INSTRUCTIONS:
        found.append((begin, len(program)))
    return found
