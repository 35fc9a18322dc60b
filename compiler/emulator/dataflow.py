"""Which instruction of a program makes what another one reads, found from the instructions alone.

One walk over the straight path of a token: LMU elements remember who wrote
them, streams who opened them, cache regions who wrote into them. The clock
waits for exactly these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.isa.encode import Instruction
from compiler.isa.spec import Effect, Kind, Unit

_OPENERS = ("rd.param", "rd.kv")


@dataclass(frozen=True, slots=True)
class Sources:
    """What one instruction waits for.

    Attributes:
        results: path indices of the instructions whose results it reads or overwrites.
        streams: path indices of the instructions that opened the streams it reads.
    """

    results: tuple[int, ...]
    streams: tuple[int, ...]


def trace_sources(path: Sequence[Instruction], lmu_elements: int) -> list[Sources]:
    """The sources of each instruction of a path; indices count within the path."""
    writer = np.full(lmu_elements, -1, np.int32)
    streams: dict[int, int] = {}
    caches: dict[int, int] = {}
    registers: dict[int, int] = {}
    link = -1
    found = []
    for index, instr in enumerate(path):
        waits: set[int] = set()
        opened: list[int] = []
        for operand, value in zip(instr.spec.operands, instr.values, strict=True):
            number = int(value)
            if operand.kind is Kind.LMU and operand.effect is Effect.READ:
                waits.update(np.unique(writer[number : number + extent(instr, operand.extent)]).tolist())
            elif operand.kind is Kind.STREAM and operand.effect is Effect.READ and number in streams:
                opened.append(streams.pop(number))
            elif operand.kind is Kind.REGISTER and operand.effect is Effect.READ:
                waits.add(registers.get(number, -1))
        if instr.mnemonic == "rd.kv":
            waits.add(caches.get(instr.integer("hbm"), -1))
        if instr.spec.unit is Unit.ESL:
            waits.add(link)
            link = index
        made = [who for who in opened if path[who].mnemonic not in _OPENERS]
        found.append(
            Sources(tuple(sorted((waits | set(made)) - {-1})), tuple(who for who in opened if who not in made))
        )
        for operand, value in zip(instr.spec.operands, instr.values, strict=True):
            number = int(value)
            if operand.effect is not Effect.WRITE:
                continue
            if operand.kind is Kind.LMU and not (operand.name == "dst" and _goes_to_stream(instr)):
                writer[number : number + extent(instr, operand.extent)] = index
            elif operand.kind is Kind.STREAM and number:
                streams[number] = index
            elif operand.kind is Kind.REGISTER and number:
                registers[number] = index
        if instr.mnemonic in ("wr.key", "wr.value"):
            for head in range(instr.integer("heads")):
                caches[instr.integer("hbm") + head * instr.integer("head_stride")] = index
    return found


def extent(instr: Instruction, names: tuple[str, ...]) -> int:
    """Elements an LMU operand covers, registers taken at their static bound."""
    count = 1
    for name in names:
        count *= instr.integer(name)
    return count


def _goes_to_stream(instr: Instruction) -> bool:
    return instr.mnemonic == "mm" and instr.integer("out") != 0
