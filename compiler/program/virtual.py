"""Instructions before the LMU is allocated: operands may name a buffer or a label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from compiler.isa.instructions import BY_MNEMONIC
from compiler.isa.spec import Effect, Kind, Operand


class Register(IntEnum):
    """What the control registers hold."""

    ZERO = 0
    POSITION = 1
    LENGTH = 2  # POSITION + 1: tokens in the caches once this step has written
    TOKEN = 3
    LAST_PROMPT = 4
    LAST_OUTPUT = 5
    STOP = 6
    OUTPUT = 7


FIRST_FREE_REGISTER = 8
"""From here on a program may use registers of its own, one per attention window."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """A value in the LMU whose address is not chosen yet."""

    index: int
    name: str
    elements: int


@dataclass(frozen=True, slots=True)
class Slot:
    """Element `offset` of a buffer."""

    buffer: Buffer
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Label:
    """A place in the program by name."""

    name: str


Virtual = int | float | Slot | Label


@dataclass(frozen=True, slots=True)
class VirtualInstruction:
    """One instruction to be.

    Attributes:
        operands: by name; those left out are zero.
        node: index of the graph node it came from, -1 for none.
        region: HBM region it touches, "" for none.
    """

    mnemonic: str
    operands: tuple[tuple[str, Virtual], ...]
    node: int
    region: str

    def slots(self) -> Iterator[tuple[Operand, Slot]]:
        """The LMU operands that name a buffer."""
        given = dict(self.operands)
        for operand in BY_MNEMONIC[self.mnemonic].operands:
            value = given.get(operand.name)
            if operand.kind is Kind.LMU and isinstance(value, Slot):
                yield operand, value


@dataclass(frozen=True, slots=True)
class VirtualProgram:
    """A lowered program.

    Attributes:
        instructions: in program order.
        labels: label -> instruction index.
        buffers: by index.
        tables: activation functions by Hugging Face name; table 1 is the first.
    """

    instructions: tuple[VirtualInstruction, ...]
    labels: dict[str, int]
    buffers: tuple[Buffer, ...]
    tables: tuple[str, ...]


def live_ranges(program: VirtualProgram) -> list[tuple[int, int]]:
    """First and last instruction that touches each buffer; (0, -1) for one that none does.

    Branches only skip forward within a step and no buffer outlives its step, so
    program order is enough.
    """
    ranges = [(0, -1)] * len(program.buffers)
    for pc, instr in enumerate(program.instructions):
        for operand, slot in instr.slots():
            first, last = ranges[slot.buffer.index]
            if last < 0 and operand.effect is Effect.WRITE:
                first = pc
            ranges[slot.buffer.index] = (first, pc)
    return ranges
