"""Plans: straight pieces of the program, whose values and order are resolved once.

A plan knows what it needs of the machine's state; `bound` gives it storage
for a number of lanes and runs it.
"""

from __future__ import annotations

from types import SimpleNamespace

from compiler.emulator.accesses import is_control, spans
from compiler.emulator.schedule import Schedule, Unplannable
from compiler.emulator.state import State
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
        elements: storage for the values of one lane on one device.
        extents: of every vector whose length a register says.
        cache_writes: instructions that write a token.

    Raises:
        Unplannable: the piece must be stepped through.
    """

    def __init__(self, program: tuple[Instruction, ...], begin: int, end: int, state: State) -> None:
        self.program = program
        self.begin = begin
        self.end = end
        self.schedule = Schedule(program, begin, end, state.memory.memory_map)
        self.elements = max(1, self.schedule.place())
        limit = state.written.shape[0]
        everything = [span for pc in range(begin, end) for span in spans(program[pc])]
        if any(span.begin + span.count > limit for span in everything):
            raise Unplannable
        self.extents = sorted({span.extent for span in everything if span.extent})
        self.cache_writes = [pc for pc in range(begin, end) if program[pc].mnemonic in ("wr.key", "wr.value")]

    def accepts(self, state: State) -> bool:
        """Whether the state is what the plan was made for, as far as that must be asked."""
        registers = state.registers
        return (
            not any(state.streams)
            and not state.link.in_flight
            and all(extent.allows(registers) for extent in self.extents)
            and all(state.written[each.begin : each.begin + each.count].all() for each in self.schedule.entry)
        )


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
