"""What a row of the instruction table is made of: units, kinds of operands, bit fields.

An instruction is eight little-endian 32-bit words; bits that no operand claims
are zero. The rows themselves are in `isa.instructions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from compiler.memory_map import CHANNELS

ISA_VERSION = 1
WORD_COUNT = 8
INSTRUCTION_BYTES = 4 * WORD_COUNT
REGISTER_COUNT = 32
STREAM_COUNT = 64
HBM_UNIT_BYTES = 64
"""An HBM operand counts units of one burst, the same in every channel."""
TOKEN_UNIT = CHANNELS
"""Cached tokens are read from a multiple of it on: there a row of keys lies in channel 0, and values begin a burst."""


def first_token(tokens: int, count: int) -> int:
    """The first of the last ones of so many tokens: no more than `count`, from a multiple of TOKEN_UNIT on."""
    return max(0, -(-(tokens - count) // TOKEN_UNIT) * TOKEN_UNIT)


class Unit(Enum):
    """The unit that executes an instruction."""

    SMA = "SMA"
    SXE = "SXE"
    VXE = "VXE"
    ESL = "ESL"
    ICP = "ICP"


class Kind(Enum):
    """What an operand means, and so how it is written in assembly.

    LMU: element address in the vector register file, `v[64]`.
    HBM: byte address within each channel, a multiple of 64, `h[0x1000]`.
    IO: byte offset in the host buffer, `io[256]`.
    REGISTER: control register, `r3`; `r0` reads as zero.
    STREAM: FIFO between SMA and the engines, `s5`; `s0` means none.
    TARGET: instruction index, `@120`.
    TABLE: activation table, `t1`; `t0` means none.
    INT: signed integer. COUNT: unsigned integer. FLOAT: IEEE float32.
    """

    LMU = "lmu"
    HBM = "hbm"
    IO = "io"
    REGISTER = "register"
    STREAM = "stream"
    TARGET = "target"
    TABLE = "table"
    INT = "int"
    COUNT = "count"
    FLOAT = "float"


class Effect(Enum):
    """How an instruction uses an operand."""

    NONE = "-"
    READ = "read"
    WRITE = "write"


class RopeStyle(IntEnum):
    """Which lanes a rotation pairs: `(i, i + rotary/2)` or `(2i, 2i + 1)`."""

    HALF = 0
    INTERLEAVED = 1


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """One operand: its name, kind and place in the instruction.

    Attributes:
        word: index of the 32-bit word.
        low: lowest bit in that word.
        bits: width.
        effect: whether the location it names is read or written.
        extent: for LMU operands, how many elements from there: the names of
            operands multiplied together, e.g. `("rows",)`. A register named
            in `extent_register` replaces the first of them when it is not r0.
        optional: written as `name=value` and left out of the text when zero.
    """

    name: str
    kind: Kind
    word: int
    low: int = 0
    bits: int = 32
    effect: Effect = Effect.NONE
    extent: tuple[str, ...] = ()
    extent_register: str = ""
    optional: bool = False
    synopsis: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """One row of the table; rows are singletons, compared by identity."""

    mnemonic: str
    opcode: int
    group: str
    unit: Unit
    operands: tuple[Operand, ...]
    synopsis: str

    def operand(self, name: str) -> Operand:
        """The operand called `name`; KeyError when there is none."""
        for operand in self.operands:
            if operand.name == name:
                return operand
        raise KeyError(name)
