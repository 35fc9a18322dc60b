"""The dependence graph: which instructions must stay behind which.

Resources are LMU ranges (by buffer), streams, cache regions, control
registers, the host buffer and what is under way on the link. Edges are read after write, write
after read and write after write; program order gives them their direction.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from compiler.isa.spec import Unit
from compiler.program.demand import integer, operands_of, shape_of
from compiler.program.virtual import Slot, VirtualInstruction

Range = tuple[Hashable, int, int]
"""A resource and the half-open range of it that is used."""


@dataclass(slots=True)
class _Uses:
    """Who used a resource so far: ranges with the instruction that wrote or read them last."""

    writes: list[tuple[int, int, int]] = field(default_factory=list)
    reads: list[tuple[int, int, int]] = field(default_factory=list)


def dependences(instructions: Sequence[VirtualInstruction]) -> list[set[int]]:
    """For each instruction of a block without branches, the earlier ones it must follow."""
    found: list[set[int]] = []
    uses: dict[Hashable, _Uses] = {}
    for index, instr in enumerate(instructions):
        reads, writes = resources(instr)
        before: set[int] = set()
        for name, begin, end in reads:
            use = uses.get(name) or uses.setdefault(name, _Uses())
            before.update([who for low, high, who in use.writes if low < end and begin < high])
            use.reads.append((begin, end, index))
        for name, begin, end in writes:
            use = uses.get(name) or uses.setdefault(name, _Uses())
            for entries in (use.writes, use.reads):
                if entries:
                    before.update([who for low, high, who in entries if low < end and begin < high])
                    entries[:] = [entry for entry in entries if not (begin <= entry[0] and entry[1] <= end)]
            use.writes.append((begin, end, index))
        before.discard(index)
        found.append(before)
    return found


def resources(instr: VirtualInstruction) -> tuple[list[Range], list[Range]]:
    """What an instruction reads and writes."""
    reads: list[Range] = []
    writes: list[Range] = []
    spec, given = operands_of(instr)
    shape = shape_of(spec)
    for operand, extent, is_write, _ in shape.lmu:
        slot = given.get(operand)
        if isinstance(slot, Slot):
            count = 1
            for factor in extent:  # a register taken at its static bound
                count *= integer(given, factor)
            (writes if is_write else reads).append((slot.buffer.index, slot.offset, slot.offset + count))
    # A reader of a stream empties it, so it counts as a write: the next opening must wait.
    writes += [(("stream", given[name]), 0, 1) for name in shape.streams if given.get(name)]
    reads += [(("register", given[name]), 0, 1) for name in shape.registers_read if given.get(name)]
    writes += [(("register", given[name]), 0, 1) for name in shape.registers_written if given.get(name)]
    if spec.mnemonic == "rd.kv":
        reads.append((("cache", instr.region), 0, 1))
    elif spec.mnemonic in ("wr.key", "wr.value"):
        writes.append((("cache", instr.region), 0, 1))
    elif spec.mnemonic in ("rd.host", "wr.host", "sample"):
        writes.append(("host", 0, 1))
    if spec.unit is Unit.ESL:
        writes.append((("sent", given["tag"]), 0, 1))  # a receive empties what its transmit sent
    return reads, writes
