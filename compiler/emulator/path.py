"""The straight path of a token: the instructions of one turn of the token loop, and what each waits for.

A token's time is that of one turn in the middle of a generation. The prologue,
which runs once, belongs to no token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from compiler.emulator.dataflow import Sources, trace_sources
from compiler.errors import MachineFault
from compiler.isa.encode import Instruction
from compiler.isa.host import Word
from compiler.isa.spec import REGISTER_COUNT, Unit
from compiler.target.timing import DECIDING

_OPENERS = ("rd.param", "rd.kv")
UNITS = tuple(Unit)


class Role(IntEnum):
    """How the clock treats an instruction."""

    CONTROL = 0
    OPEN = 1
    POST = 2
    EXECUTE = 3


@dataclass(frozen=True, slots=True)
class Path:
    """One turn of the token loop.

    Attributes:
        pcs: of its instructions.
        sources: what each waits for, by place in the path.
        steps: per instruction its role, its unit as an index of `UNITS`, its kind of work as an index of `works`, and
            `sources` once more as plain tuples.
        works: one instruction of each kind of work: all of a kind cost the same at the same length.
        counts: how many instructions there are of each kind.
    """

    pcs: tuple[int, ...]
    sources: tuple[Sources, ...]
    steps: tuple[tuple[int, int, int, tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...]
    works: tuple[Instruction, ...]
    counts: tuple[int, ...]


def walk_token(instructions: Sequence[Instruction], *, prompt: bool) -> Path:
    """The path of a token in the middle of a prompt, or of one in the middle of the new tokens.

    Raises:
        MachineFault: a turn of the token loop meets an instruction twice, or leaves the program.
    """
    pcs = _follow(instructions, last_prompt=2 if prompt else 0)
    body = [instructions[pc] for pc in pcs]
    sources = trace_sources(body)
    kinds: dict[tuple[object, ...], int] = {}
    works: list[Instruction] = []
    counts: list[int] = []
    steps = []
    for instr, source in zip(body, sources, strict=True):
        pairs = zip(instr.spec.operands, instr.values, strict=True)
        key = (instr.spec, *(value for operand, value in pairs if operand.name in DECIDING))
        kind = kinds.setdefault(key, len(works))
        if kind == len(works):
            works.append(instr)
            counts.append(0)
        counts[kind] += 1
        unit = UNITS.index(instr.spec.unit)
        steps.append((int(_role(instr)), unit, kind, source.results, source.hazards, source.streams))
    return Path(tuple(pcs), tuple(sources), tuple(steps), tuple(works), tuple(counts))


def _role(instr: Instruction) -> Role:
    if instr.mnemonic in _OPENERS:
        return Role.OPEN
    return {Unit.ICP: Role.CONTROL, Unit.SMA: Role.POST}.get(instr.spec.unit, Role.EXECUTE)


def _follow(instructions: Sequence[Instruction], last_prompt: int) -> list[int]:
    """The instructions of the second turn of the token loop, or of the whole program when it has none."""
    registers = [0] * REGISTER_COUNT
    loop = loop_end(instructions)
    loop = len(instructions) - 1 if loop < 0 else loop
    turns: list[list[int]] = [[]]
    met: set[int] = set()
    pc = 0
    while True:
        if not 0 <= pc < len(instructions):
            raise MachineFault(
                f"pc {pc}: the program ends at {len(instructions)} without hlt; its tokens cannot be timed"
            )
        if pc in met:
            raise MachineFault(f"pc {pc} comes twice in one turn of the token loop; only straight tokens can be timed")
        met.add(pc)
        turns[-1].append(pc)
        if instructions[pc].mnemonic == "hlt":
            break
        if pc == loop:
            if len(turns) == 2:
                break
            turns.append([])
            met.clear()
        pc = _next(instructions[pc], pc, registers, last_prompt)
    return turns[-1]


def loop_end(instructions: Sequence[Instruction]) -> int:
    """The last jump backwards: it closes the token loop; -1 when there is none."""
    found = [pc for pc, instr in enumerate(instructions) if instr.mnemonic == "jmp" and instr.integer("target") <= pc]
    return found[-1] if found else -1


def _next(instr: Instruction, pc: int, registers: list[int], last_prompt: int) -> int:
    """Execute one instruction as far as control needs it."""
    match instr.mnemonic:
        case "li":
            registers[instr.integer("dst")] = instr.integer("value")
        case "addi":
            registers[instr.integer("dst")] = registers[instr.integer("a")] + instr.integer("value")
        case "add":
            registers[instr.integer("dst")] = registers[instr.integer("a")] + registers[instr.integer("b")]
        case "rd.host":
            words = {4 * Word.LAST_PROMPT: last_prompt, 4 * Word.LAST_OUTPUT: 1 << 30}
            registers[instr.integer("dst")] = words.get(instr.integer("io"), 0)
        case "sample":
            registers[instr.integer("token")] = registers[instr.integer("stop")] = 0
        case "jmp":
            return instr.integer("target")
        case "beq" | "bne" | "blt" | "bge":
            a, b = registers[instr.integer("a")], registers[instr.integer("b")]
            taken = {"beq": a == b, "bne": a != b, "blt": a < b, "bge": a >= b}[instr.mnemonic]
            return instr.integer("target") if taken else pc + 1
    registers[0] = 0
    return pc + 1
