"""Instructions as values, and as 32-byte words. Derived from `isa.instructions`.

`decode(encode(x)) == x` for every legal instruction; a word with an unknown
opcode or with bits set that no operand claims is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from compiler.errors import AssemblyError
from compiler.isa.instructions import BY_MNEMONIC, BY_OPCODE
from compiler.isa.spec import HBM_UNIT_BYTES, INSTRUCTION_BYTES, Kind, Operand, Spec

_WORDS = struct.Struct("<8I")
_FLOAT = struct.Struct("<f")
_BITS = struct.Struct("<I")

Value = int | float


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its row of the table and one value per operand, in table order.

    HBM operands are bytes, FLOAT operands are exactly representable in float32.
    """

    spec: Spec
    values: tuple[Value, ...]

    def __getitem__(self, name: str) -> Value:
        return self.values[_positions(self.spec)[name]]

    def integer(self, name: str) -> int:
        """Value of an operand that is not FLOAT."""
        return int(self[name])

    @property
    def mnemonic(self) -> str:
        """Name of the operation."""
        return self.spec.mnemonic


@cache
def _positions(spec: Spec) -> dict[str, int]:
    return {operand.name: index for index, operand in enumerate(spec.operands)}


def instruction(mnemonic: str, **operands: Value) -> Instruction:
    """Build one instruction; optional operands default to zero.

    Raises:
        AssemblyError: unknown mnemonic or operand, a missing operand, or a value out of range.
    """
    spec = BY_MNEMONIC.get(mnemonic)
    if spec is None:
        raise AssemblyError(f"unknown instruction {mnemonic!r}")
    values = []
    for operand in spec.operands:
        if operand.name in operands:
            values.append(check_operand(spec, operand, operands.pop(operand.name)))
        elif operand.optional:
            values.append(0)
        else:
            raise AssemblyError(f"{mnemonic}: operand {operand.name!r} is missing")
    if operands:
        raise AssemblyError(f"{mnemonic}: unknown operand {', '.join(sorted(operands))}")
    return Instruction(spec, tuple(values))


def check_operand(spec: Spec, operand: Operand, value: Value) -> Value:
    """Return `value` if it fits its field.

    Raises:
        AssemblyError: naming instruction, operand, value and limit.
    """
    where = f"{spec.mnemonic}: operand {operand.name!r}"
    if operand.kind is Kind.FLOAT:
        try:
            return float(_FLOAT.unpack(_FLOAT.pack(value))[0])
        except OverflowError:
            raise AssemblyError(f"{where} is {value}, beyond float32") from None
    number = int(value)
    unit = HBM_UNIT_BYTES if operand.kind is Kind.HBM else 1
    if number % unit:
        raise AssemblyError(f"{where} is {number:#x}, not a multiple of {unit}")
    signed = operand.kind is Kind.INT
    low = -(1 << (operand.bits - 1)) if signed else 0
    high = (1 << (operand.bits - signed)) - 1
    if not low <= number // unit <= high:
        raise AssemblyError(f"{where} is {number}, outside {low * unit}..{high * unit}")
    return number


def encode(instr: Instruction) -> bytes:
    """The 32 bytes of an instruction."""
    words = [0] * 8
    words[0] = instr.spec.opcode
    for operand, value in zip(instr.spec.operands, instr.values, strict=True):
        words[operand.word] |= (_to_bits(operand, value) & ((1 << operand.bits) - 1)) << operand.low
    return _WORDS.pack(*words)


def encode_program(instructions: Iterable[Instruction]) -> bytes:
    """The words of a program, without file header."""
    return b"".join(map(encode, instructions))


def decode(word: bytes | memoryview) -> Instruction:
    """Read one instruction.

    Raises:
        AssemblyError: unknown opcode, or bits set that no operand claims.
    """
    words = _WORDS.unpack(word)
    spec = BY_OPCODE.get(words[0] & 0xFF)
    if spec is None:
        raise AssemblyError(f"unknown opcode {words[0] & 0xFF:#04x}")
    for index, (value, claimed) in enumerate(zip(words, _claimed(spec), strict=True)):
        if value & ~claimed:
            raise AssemblyError(
                f"{spec.mnemonic}: word {index} is {value:#010x}, bits beyond {claimed:#010x} must be 0"
            )
    return Instruction(spec, tuple(_from_bits(operand, words[operand.word]) for operand in spec.operands))


def decode_program(data: bytes | memoryview) -> list[Instruction]:
    """Read the words of a program.

    Raises:
        AssemblyError: a size that is no multiple of 32 bytes, or a bad instruction, with its index.
    """
    view = memoryview(data).cast("B")
    if len(view) % INSTRUCTION_BYTES:
        raise AssemblyError(f"a program of {len(view)} bytes is not a multiple of {INSTRUCTION_BYTES}")
    decoded = []
    for index in range(len(view) // INSTRUCTION_BYTES):
        try:
            decoded.append(decode(view[index * INSTRUCTION_BYTES : (index + 1) * INSTRUCTION_BYTES]))
        except AssemblyError as error:
            raise AssemblyError(f"instruction {index}: {error}") from None
    return decoded


def _to_bits(operand: Operand, value: Value) -> int:
    if operand.kind is Kind.FLOAT:
        return int(_BITS.unpack(_FLOAT.pack(value))[0])
    return int(value) // HBM_UNIT_BYTES if operand.kind is Kind.HBM else int(value)


def _from_bits(operand: Operand, word: int) -> Value:
    bits = (word >> operand.low) & ((1 << operand.bits) - 1)
    if operand.kind is Kind.FLOAT:
        return float(_FLOAT.unpack(_BITS.pack(bits))[0])
    if operand.kind is Kind.INT and bits >> (operand.bits - 1):
        return bits - (1 << operand.bits)
    return bits * HBM_UNIT_BYTES if operand.kind is Kind.HBM else bits


@cache
def _claimed(spec: Spec) -> tuple[int, ...]:
    masks = [0] * 8
    masks[0] = 0xFF
    for operand in spec.operands:
        masks[operand.word] |= ((1 << operand.bits) - 1) << operand.low
    return tuple(masks)
