"""What an instruction touches, read off its row in `isa.instructions`: for planning, so for every opcode alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compiler.isa.encode import Instruction
from compiler.isa.spec import Effect, Kind, Unit


@dataclass(frozen=True, slots=True)
class Span:
    """LMU elements that an operand names.

    Attributes:
        operand: its name.
        begin: first element.
        count: how many, or the most when a register says how many.
        register: that register, 0 for none.
        written: written, else read.
    """

    operand: str
    begin: int
    count: int
    register: int
    written: bool

    @property
    def end(self) -> int:
        """Behind the last element."""
        return self.begin + self.count


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
            found.append(Span(operand.name, values[operand.name], count, register, operand.effect is Effect.WRITE))
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
