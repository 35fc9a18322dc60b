"""The dependence graph: which instructions must stay behind which.

Resources are LMU ranges (by buffer), streams, cache regions, control
registers, the host buffer and the link. Edges are read after write, write
after read and write after write; program order gives them their direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from compiler.isa.instructions import BY_MNEMONIC
from compiler.isa.spec import Effect, Kind, Unit
from compiler.program.virtual import VirtualInstruction

Range = tuple[str, int, int]
"""A resource and the half-open range of it that is used."""


@dataclass(slots=True)
class _Uses:
    """Who used a resource so far: ranges with the instruction that wrote or read them last."""

    writes: list[tuple[int, int, int]] = field(default_factory=list)
    reads: list[tuple[int, int, int]] = field(default_factory=list)


def dependences(instructions: Sequence[VirtualInstruction]) -> list[set[int]]:
    """For each instruction of a block without branches, the earlier ones it must follow."""
    found: list[set[int]] = [set() for _ in instructions]
    uses: dict[str, _Uses] = {}
    for index, instr in enumerate(instructions):
        reads, writes = resources(instr)
        for name, begin, end in reads:
            use = uses.setdefault(name, _Uses())
            found[index].update(who for low, high, who in use.writes if low < end and begin < high)
            use.reads.append((begin, end, index))
        for name, begin, end in writes:
            use = uses.setdefault(name, _Uses())
            for entries in (use.writes, use.reads):
                found[index].update(who for low, high, who in entries if low < end and begin < high)
                entries[:] = [entry for entry in entries if not (begin <= entry[0] and entry[1] <= end)]
            use.writes.append((begin, end, index))
        found[index].discard(index)
    return found


def resources(instr: VirtualInstruction) -> tuple[list[Range], list[Range]]:
    """What an instruction reads and writes."""
    reads: list[Range] = []
    writes: list[Range] = []
    spec = BY_MNEMONIC[instr.mnemonic]
    given = dict(instr.operands)
    for operand, slot in instr.slots():
        span = (f"lmu {slot.buffer.index}", slot.offset, slot.offset + instr.elements(operand))
        (writes if operand.effect is Effect.WRITE else reads).append(span)
    for operand in spec.operands:
        value = given.get(operand.name, 0)
        if operand.kind in (Kind.STREAM, Kind.REGISTER) and value and operand.effect is not Effect.NONE:
            span = (f"{operand.kind.value} {value}", 0, 1)
            # A reader of a stream empties it, so it counts as a write: the next opening must wait.
            is_write = operand.effect is Effect.WRITE or operand.kind is Kind.STREAM
            (writes if is_write else reads).append(span)
    if instr.mnemonic == "rd.kv":
        reads.append((f"cache {instr.region}", 0, 1))
    elif instr.mnemonic in ("wr.key", "wr.value"):
        writes.append((f"cache {instr.region}", 0, 1))
    elif instr.mnemonic in ("rd.host", "wr.host", "sample"):
        writes.append(("host", 0, 1))
    if spec.unit is Unit.ESL:
        writes.append(("link", 0, 1))
    return reads, writes
