"""LMU allocation: every buffer gets an address for as long as it lives.

In: a virtual program and the size of the LMU. Out: instructions with
addresses, and the live ranges for people to look at. Buffers are placed in the
order in which they come alive; `program.verify` checks the result on its own.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from compiler.debug_info import LiveRange
from compiler.errors import CapacityError
from compiler.isa.encode import Instruction, Value, instruction
from compiler.isa.instructions import BY_MNEMONIC
from compiler.program.virtual import Label, Slot, Virtual, VirtualProgram, live_ranges

ALIGNMENT = 64
"""Elements; a tile of the matrix unit is that wide."""

_SPREAD = 4
"""How many times the room that is needed is used, where the LMU has it."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """A program that can be encoded.

    Attributes:
        used_elements: the LMU needs to have.
    """

    instructions: tuple[Instruction, ...]
    values: tuple[LiveRange, ...]
    used_elements: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the buffers of a program lie.

    Attributes:
        addresses: by buffer index.
        used_elements: the LMU needs to have.
    """

    addresses: Mapping[int, int]
    values: tuple[LiveRange, ...]
    used_elements: int


def allocate(program: VirtualProgram, lmu_elements: int) -> Allocation:
    """Place all buffers and resolve labels.

    Raises:
        CapacityError: the values alive at one time exceed the LMU.
    """
    return resolve(program, place_buffers(program, lmu_elements))


def place_buffers(program: VirtualProgram, lmu_elements: int) -> Placement:
    """An address for every buffer.

    Raises:
        CapacityError: the values alive at one time exceed the LMU.
    """
    packed = _placed(program, lmu_elements, _first_fit)
    used = max((live.end for live in packed[1]), default=0)
    try:
        # Room that was just freed may still be read by another unit, so take the one that was free the longest.
        addresses, values = _placed(program, min(lmu_elements, _SPREAD * used), _NextFit())
    except CapacityError:
        addresses, values = packed
    return Placement(addresses, values, used)


def _placed(
    program: VirtualProgram, lmu_elements: int, fit: Callable[[list[tuple[int, int, int]], int, int], int]
) -> tuple[dict[int, int], tuple[LiveRange, ...]]:
    """Addresses and live ranges, each buffer where `fit` puts it among those alive.

    Raises:
        CapacityError: the values alive at one time exceed the LMU.
    """
    ranges = live_ranges(program)
    addresses: dict[int, int] = {}
    active: list[tuple[int, int, int]] = []  # begin, end, last pc; sorted by begin
    values = []
    order = sorted((first, index) for index, (first, last) in enumerate(ranges) if last >= 0)
    for first, index in order:
        buffer, last = program.buffers[index], ranges[index][1]
        active = [entry for entry in active if entry[2] >= first]
        begin = fit(active, buffer.elements, lmu_elements)
        end = begin + buffer.elements
        if end > lmu_elements:
            raise CapacityError(
                f"LMU: {buffer.name} needs elements {begin}..{end} and the LMU has {lmu_elements}",
                "lower --max-length, use more devices or a smaller dtype",
            )
        insort(active, (begin, end, last))
        addresses[index] = begin
        values.append(LiveRange(buffer.name, begin, end, first, last))
    return addresses, tuple(values)


def resolve(program: VirtualProgram, placement: Placement) -> Allocation:
    """The instructions with addresses for buffers and labels."""

    def resolved(value: Virtual) -> Value:
        if isinstance(value, Slot):
            return placement.addresses[value.buffer.index] + value.offset
        return program.labels[value.name] if isinstance(value, Label) else value

    instructions = tuple(
        instruction(virtual.mnemonic, **_given(virtual.mnemonic, {name: resolved(v) for name, v in virtual.operands}))
        for virtual in program.instructions
    )
    return Allocation(instructions, placement.values, placement.used_elements)


def _first_fit(active: list[tuple[int, int, int]], elements: int, _limit: int, begin: int = 0) -> int:
    """The lowest place from `begin` on that overlaps nothing alive."""
    for taken_begin, taken_end, _ in active:
        if begin + elements <= taken_begin:
            break
        begin = max(begin, -(-taken_end // ALIGNMENT) * ALIGNMENT)
    return begin


class _NextFit:
    """The next place behind the last one, from the beginning again at the end."""

    def __init__(self) -> None:
        self._next = 0

    def __call__(self, active: list[tuple[int, int, int]], elements: int, limit: int) -> int:
        begin = _first_fit(active, elements, limit, self._next)
        if begin + elements > limit:
            begin = _first_fit(active, elements, limit)
        self._next = -(-(begin + elements) // ALIGNMENT) * ALIGNMENT
        return begin


def _given(mnemonic: str, operands: dict[str, Value]) -> dict[str, Value]:
    """The operands with those that lowering left out as zero."""
    zeros: dict[str, Value] = {operand.name: 0 for operand in BY_MNEMONIC[mnemonic].operands}
    return zeros | operands
