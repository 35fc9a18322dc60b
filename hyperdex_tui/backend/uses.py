"""What an instruction reads and writes, as ranges of named resources. Standard library only.

Resources are the LMU (elements), streams, control registers, single heads of a
cache (by address), the host buffer and what is under way on the link (by tag). A register that replaces a
length counts as its static bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.isa.encode import Instruction
from compiler.isa.spec import Effect, Kind, Operand, Unit

_CACHE_WRITES = ("wr.key", "wr.value")
_HOST = ("rd.host", "wr.host", "sample")


@dataclass(frozen=True, slots=True)
class Use:
    """One use: elements [begin, end) of `resource`."""

    resource: str
    begin: int
    end: int
    is_write: bool

    @property
    def text(self) -> str:
        """As the listing writes it."""
        if self.resource == "lmu":
            return f"v[{self.begin}..{self.end - 1}]" if self.end - self.begin > 1 else f"v[{self.begin}]"
        return self.resource


def uses_of(instr: Instruction) -> tuple[Use, ...]:
    """Everything an instruction reads or writes that another one could make or need."""
    found: list[Use] = []
    for operand, value in zip(instr.spec.operands, instr.values, strict=True):
        if operand.effect is Effect.NONE:
            continue
        is_write = operand.effect is Effect.WRITE
        number = int(value)
        if operand.kind is Kind.LMU:
            size = _extent(instr, operand)
            if size:
                found.append(Use("lmu", number, number + size, is_write))
        elif operand.kind is Kind.STREAM and number:
            found.append(Use(f"s{number}", 0, 1, is_write))
            if not is_write:  # reading empties it: the next opening waits for that
                found.append(Use(f"s{number}", 0, 1, True))
        elif operand.kind is Kind.REGISTER and number:
            found.append(Use(f"r{number}", 0, 1, is_write))
    return (*found, *_memory(instr))


def _extent(instr: Instruction, operand: Operand) -> int:
    """Elements of an LMU operand; 0 when the instruction does not use it."""
    if instr.mnemonic == "mm" and operand.name == "dst" and instr["out"]:
        return 0
    if instr.mnemonic in _CACHE_WRITES and operand.name == "src" and instr["stream"]:
        return 0
    size = 1
    for name in operand.extent:
        size *= instr.integer(name)
    return size


def _memory(instr: Instruction) -> tuple[Use, ...]:
    if instr.mnemonic == "rd.kv":
        return (Use(f"cache {instr.integer('hbm'):#x}", 0, 1, False),)
    if instr.mnemonic in _CACHE_WRITES:
        base, step = instr.integer("hbm"), instr.integer("head_stride")
        return tuple(Use(f"cache {base + head * step:#x}", 0, 1, True) for head in range(instr.integer("heads")))
    if instr.mnemonic in _HOST:
        return (Use("host", 0, 1, True),)
    if instr.spec.unit is Unit.ESL:
        return (Use(f"tag {instr.integer('tag')}", 0, 1, instr.mnemonic == "tx"),)
    return ()
