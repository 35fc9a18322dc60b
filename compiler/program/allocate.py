"""LMU allocation: every buffer gets an address for as long as it lives.

In: a virtual program and the size of the LMU. Out: instructions with
addresses, and the live ranges for people to look at. First fit in the order
in which buffers come alive; `program.verify` checks the result on its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.debug_info import LiveRange
from compiler.errors import CapacityError
from compiler.isa.encode import Instruction, Value, instruction
from compiler.isa.spec import BY_MNEMONIC
from compiler.program.virtual import Label, Slot, Virtual, VirtualProgram, live_ranges

ALIGNMENT = 64
"""Elements; a tile of the matrix unit is that wide."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """A program that can be encoded.

    Attributes:
        used_elements: highest LMU address in use, exclusive.
    """

    instructions: tuple[Instruction, ...]
    values: tuple[LiveRange, ...]
    used_elements: int


def allocate(program: VirtualProgram, lmu_elements: int) -> Allocation:
    """Place all buffers and resolve labels.

    Raises:
        CapacityError: the values alive at one time exceed the LMU.
    """
    ranges = live_ranges(program)
    addresses: dict[int, int] = {}
    active: list[tuple[int, int, int]] = []  # begin, end, last pc; sorted by begin
    used = 0
    values = []
    order = sorted((first, index) for index, (first, last) in enumerate(ranges) if last >= 0)
    for first, index in order:
        buffer, last = program.buffers[index], ranges[index][1]
        active = [entry for entry in active if entry[2] >= first]
        begin = _first_fit(active, buffer.elements)
        end = begin + buffer.elements
        if end > lmu_elements:
            raise CapacityError(
                f"LMU: {buffer.name} needs elements {begin}..{end} and the LMU has {lmu_elements}",
                "lower --max-length, use more devices or a smaller dtype",
            )
        active.append((begin, end, last))
        active.sort()
        addresses[index] = begin
        used = max(used, end)
        values.append(LiveRange(buffer.name, begin, end, first, last))

    def resolved(value: Virtual) -> Value:
        if isinstance(value, Slot):
            return addresses[value.buffer.index] + value.offset
        return program.labels[value.name] if isinstance(value, Label) else value

    instructions = tuple(
        instruction(virtual.mnemonic, **_given(virtual.mnemonic, {name: resolved(v) for name, v in virtual.operands}))
        for virtual in program.instructions
    )
    return Allocation(instructions, tuple(values), used)


def _first_fit(active: list[tuple[int, int, int]], elements: int) -> int:
    begin = 0
    for taken_begin, taken_end, _ in active:
        if begin + elements <= taken_begin:
            break
        begin = max(begin, -(-taken_end // ALIGNMENT) * ALIGNMENT)
    return begin


def _given(mnemonic: str, operands: dict[str, Value]) -> dict[str, Value]:
    """The operands with those that lowering left out as zero."""
    zeros: dict[str, Value] = {operand.name: 0 for operand in BY_MNEMONIC[mnemonic].operands}
    return zeros | operands
