"""What an instruction touches, read off its row in `isa.instructions`: for planning, so for every opcode alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from compiler.isa.encode import Instruction
from compiler.isa.spec import Effect, Kind, Unit, first_token


class Extent(NamedTuple):
    """How many elements a register says.

    Attributes:
        most: there may be no more.
        last: whether the register may say more, of which only the last are meant, see `isa.spec.first_token`.
    """

    register: int
    most: int
    last: bool

    def elements(self, registers: Sequence[int]) -> int:
        """How many these registers say."""
        tokens = registers[self.register]
        return tokens - first_token(tokens, self.most) if self.last else tokens

    def covers(self, other: Extent | None) -> bool:
        """Whether so many elements are always enough for another extent."""
        if other is None or (other.register, other.last) != (self.register, self.last):
            return False
        return other.most == self.most if self.last else other.most <= self.most

    def allows(self, registers: Sequence[int]) -> bool:
        """Whether these registers say no fewer than one and no more than there may be."""
        return 0 < self.elements(registers) <= self.most


@dataclass(frozen=True, slots=True)
class Span:
    """LMU elements that an operand names.

    Attributes:
        operand: its name.
        begin: first element.
        count: how many, or the most when a register says how many.
        extent: how many a register says; None for none.
        written: written, else read.
    """

    operand: str
    begin: int
    count: int
    extent: Extent | None
    written: bool

    @property
    def end(self) -> int:
        """Behind the last element."""
        return self.begin + self.count

    def elements(self, registers: Sequence[int]) -> int:
        """How many elements with these registers."""
        return self.extent.elements(registers) if self.extent else self.count


def spans(instr: Instruction) -> tuple[Span, ...]:
    """LMU spans of an instruction, reads first; empty ones are left out."""
    values = _values(instr)
    found = []
    for operand in instr.spec.operands:
        if operand.kind is not Kind.LMU or _is_unused(instr.mnemonic, operand.name, values):
            continue
        count = math.prod(values[name] for name in operand.extent)
        if count:
            register = values[operand.extent_register] if operand.extent_register else 0
            extent = Extent(register, count, bool(values["last"])) if register else None
            found.append(Span(operand.name, values[operand.name], count, extent, operand.effect is Effect.WRITE))
    return tuple(sorted(found, key=lambda span: span.written))


def _is_unused(mnemonic: str, name: str, values: dict[str, int]) -> bool:
    """The two operands that a stream replaces."""
    if mnemonic == "mm":
        return name == "dst" and values["out"] != 0
    return mnemonic in ("wr.key", "wr.value") and name == "src" and values["stream"] != 0


def streams(instr: Instruction, effect: Effect) -> tuple[int, ...]:
    """Stream slots an instruction reads or writes."""
    values = _values(instr)
    slots = (values[each.name] for each in instr.spec.operands if each.kind is Kind.STREAM and each.effect is effect)
    return tuple(slot for slot in slots if slot)


def memory(instr: Instruction) -> tuple[tuple[int, bool], ...]:
    """HBM addresses an instruction reads (False) or writes (True)."""
    values = _values(instr)
    return tuple(
        (values[each.name], each.effect is Effect.WRITE)
        for each in instr.spec.operands
        if each.kind is Kind.HBM and each.effect is not Effect.NONE
    )


def is_control(instr: Instruction) -> bool:
    """Whether it decides about registers, host or the way on: plans do not contain it."""
    return instr.spec.unit is Unit.ICP or any(
        operand.kind is Kind.IO or (operand.kind is Kind.REGISTER and operand.effect is Effect.WRITE)
        for operand in instr.spec.operands
    )


def is_scalar(instr: Instruction) -> bool:
    """Whether registers and the host's own words are all it reads, and registers and pc all it writes."""
    if instr.mnemonic == "hlt" or any(operand.kind in (Kind.LMU, Kind.STREAM) for operand in instr.spec.operands):
        return False
    reads_host = any(each.kind is Kind.IO and each.effect is Effect.READ for each in instr.spec.operands)
    return instr.spec.unit is Unit.ICP or reads_host


def _values(instr: Instruction) -> dict[str, int]:
    return {
        operand.name: int(value)
        for operand, value in zip(instr.spec.operands, instr.values, strict=True)
        if operand.kind is not Kind.FLOAT
    }
