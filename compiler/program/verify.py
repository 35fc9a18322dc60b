"""The program verifier: walks the final instructions and believes nothing.

Legality (`verify_program`) needs the instructions and the memory map only, so
it also serves builds read from disk. `verify_allocation` compares the data
flow through LMU addresses with the data flow through named buffers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.errors import VerificationError
from compiler.isa.encode import Instruction
from compiler.isa.spec import TOKEN_UNIT, Effect, Kind, Operand, Unit
from compiler.isa.text import format_instruction
from compiler.memory_map import MemoryMap, Region
from compiler.program.virtual import VirtualProgram


def verify_program(
    instructions: Sequence[Instruction], memory_map: MemoryMap, lmu_elements: int, table_count: int
) -> None:
    """Check streams, regions, LMU bounds, transmit/receive pairs, registers and branch targets.

    Raises:
        VerificationError: naming the instruction and the rule it breaks.
    """
    walk = _Walk(memory_map, lmu_elements, table_count, len(instructions))
    for pc, instr in enumerate(instructions):
        problem = walk.problem(instr)
        if problem:
            raise VerificationError(f"program: instruction {pc}: {format_instruction(instr)}: {problem}")
    if walk.open:
        raise VerificationError(f"program: stream s{min(walk.open)} is opened and never read")
    if walk.sent:
        raise VerificationError(f"program: tx with tag {min(walk.sent)} has no rx")
    if not instructions or instructions[-1].mnemonic not in ("hlt", "jmp"):
        raise VerificationError("program: it runs past its last instruction")
    if not any(instr.mnemonic == "hlt" for instr in instructions):
        raise VerificationError("program: it has no hlt")


def extent(instr: Instruction, operand: Operand) -> int:
    """Most LMU elements an operand covers; a register counts as its static bound."""
    count = 1
    for name in operand.extent:
        count *= instr.integer(name)
    return count


_Counted = tuple[int, int, int]
"""Register that replaces rows, register that replaces cols, whether these are the last ones of its tokens."""

_ALL: _Counted = (0, 0, 0)


class _Walk:
    """What is open, sent and known while walking the program front to back."""

    def __init__(self, memory_map: MemoryMap, lmu_elements: int, table_count: int, size: int) -> None:
        self.memory_map = memory_map
        self.lmu_elements = lmu_elements
        self.table_count = table_count
        self.size = size
        self.open: dict[int, tuple[int, int, _Counted]] = {}  # stream -> rows, cols
        self.by_token: dict[int, tuple[int, int, int]] = {}  # LMU element -> register, most, whether the last ones
        self.sent: dict[int, int] = {}  # tag -> length
        self.written = {0}
        self.read: dict[str, set[tuple[int, int]]] = {}  # region -> rows [begin, end) of each of its chunks

    def problem(self, instr: Instruction) -> str:
        """The first rule that the instruction breaks, or ""."""
        return (
            self._bounds(instr)
            or self._region(instr)
            or self._streams(instr)
            or self._vectors_of_tokens(instr)
            or self._network(instr)
            or self._registers(instr)
        )

    def _bounds(self, instr: Instruction) -> str:
        for operand, value in zip(instr.spec.operands, instr.values, strict=True):
            if operand.kind is Kind.LMU:
                end = int(value) + extent(instr, operand)
                if end > self.lmu_elements:
                    return f"{operand.name} ends at element {end}, the LMU has {self.lmu_elements}"
            elif operand.kind is Kind.TARGET and int(value) >= self.size:
                return f"target {value} is outside the program of {self.size}"
            elif operand.kind is Kind.TABLE and int(value) > self.table_count:
                return f"table {value} does not exist, there are {self.table_count}"
        return ""

    def _region(self, instr: Instruction) -> str:
        """The HBM operand names a region, or a head of one, with the extents of the map."""
        if instr.mnemonic in ("rd.host", "wr.host") or not any(o.name == "hbm" for o in instr.spec.operands):
            return ""
        address = instr.integer("hbm")
        region = self.memory_map.region_at(address)
        if region is None:
            return f"no region at {address:#x}"
        kinds = {"rd.kv": ("key", "value"), "wr.key": ("key",), "wr.value": ("value",)}.get(instr.mnemonic)
        if kinds is None and not region.is_parameter:
            return f"{region.name} holds no parameters"
        if kinds is not None and region.kind not in kinds:
            return f"{region.name} is a region of kind {region.kind}"
        if instr.mnemonic == "rd.param" and instr.integer("step"):
            following = self.memory_map.region_at(address + instr.integer("step"))
            if following is None or (following.begin, following.rows, following.cols, following.stride) != (
                region.end,
                region.rows,
                region.cols,
                region.stride,
            ):
                return f"{instr.integer('step'):#x} behind {region.name} is no other of its kind"
        offset = (address - region.begin) % region.head_bytes
        if instr.mnemonic == "rd.param" and region.layout == "rows":
            return self._rows_problem(instr, region, offset)
        if offset:
            return f"{address:#x} is {offset:#x} bytes inside {region.name}"
        return _extent_problem(instr, region)

    def _rows_problem(self, instr: Instruction, region: Region, offset: int) -> str:
        """A parameter may be read chunk by chunk: whole columns, from a row of channel 0 on."""
        slot_bytes = region.stride * self.memory_map.dtype.itemsize
        if offset % slot_bytes:
            return f"{offset:#x} bytes inside {region.name} no row begins"
        first, rows = offset // slot_bytes * self.memory_map.channels, instr.integer("rows")
        if first + rows > region.rows:
            return f"rows {first}..{first + rows}, {region.name} has {region.rows}"
        for begin, end in self.read.setdefault(region.name, set()):
            if first < end and begin < first + rows and (begin, end) != (first, first + rows):
                return f"rows {first}..{first + rows} of {region.name}, of which {begin}..{end} are another chunk"
        self.read[region.name].add((first, first + rows))
        given = (instr.integer("cols"), instr.integer("stride"))
        wanted = (region.cols, region.stride)
        return "" if given == wanted else f"columns and stride {given}, {region.name} has {wanted}"

    def _streams(self, instr: Instruction) -> str:
        for name, rows, cols, counted in _stream_reads(instr):
            stream = instr.integer(name)
            if not stream:
                continue
            found = self.open.pop(stream, None)
            if found is None:
                return f"stream s{stream} is not open"
            if found[2] != counted:
                return f"stream s{stream} carries {_named(found[2])}, read as {_named(counted)}"
            if found[:2] != (rows, cols):
                return f"stream s{stream} carries {found[0]} x {found[1]}, read as {rows} x {cols}"
        for name in ("stream", "out"):
            operand = next((o for o in instr.spec.operands if o.name == name), None)
            if operand is None or operand.effect is not Effect.WRITE or not instr.integer(name):
                continue
            if instr.integer(name) in self.open:
                return f"stream s{instr.integer(name)} is already open"
            cols = instr.integer("cols") if name == "stream" else 1
            counted = _counted(instr) if instr.mnemonic == "rd.kv" else _ALL
            self.open[instr.integer(name)] = (instr.integer("rows"), cols, counted)
        return ""

    def _vectors_of_tokens(self, instr: Instruction) -> str:
        """What has an element per token is read for the tokens for which it was written."""
        vectors = [
            (operand, instr.integer(operand.extent_register), extent(instr, operand))
            for operand in instr.spec.operands
            if operand.extent_register and instr.integer(operand.extent_register)
        ]
        for effect in (Effect.READ, Effect.WRITE):
            for operand, register, most in vectors:
                at, counted = instr.integer(operand.name), (register, most, instr.integer("last"))
                if operand.effect is not effect:
                    continue
                if effect is Effect.READ and self.by_token.get(at) != counted:
                    tokens = f"{'the last of ' * counted[2]}r{register} tokens, {most} at most"
                    return f"{operand.name} was not written for {tokens}"
                self.by_token[at] = counted
        return ""

    def _network(self, instr: Instruction) -> str:
        tag = instr.integer("tag") if instr.spec.unit is Unit.ESL else 0
        if instr.mnemonic == "tx":
            if tag in self.sent:
                return f"tag {tag} was sent and not received yet"
            self.sent[tag] = instr.integer("length")
        elif instr.mnemonic == "rx":
            if tag not in self.sent:
                return f"tag {tag} was not sent"
            if (length := self.sent.pop(tag)) != instr.integer("length"):
                return f"what was sent are {length} elements"
            if instr.integer("devices") != self.memory_map.num_devices:
                return f"the build has {self.memory_map.num_devices} devices"
        return ""

    def _registers(self, instr: Instruction) -> str:
        pairs = list(zip(instr.spec.operands, instr.values, strict=True))
        for operand, value in pairs:
            if operand.kind is Kind.REGISTER and operand.effect is Effect.READ and value not in self.written:
                return f"r{value} is read before it is written"
        for operand, value in pairs:
            if operand.kind is Kind.REGISTER and operand.effect is Effect.WRITE:
                self.written.add(int(value))
        return ""


def _extent_problem(instr: Instruction, region: Region) -> str:
    mnemonic = instr.mnemonic
    if mnemonic == "rd.embed":
        given, wanted = (instr.integer("rows"), instr.integer("length")), (region.rows, region.cols)
    elif mnemonic == "rd.kv" and instr.integer("last"):
        return _last_problem(instr, region)
    elif mnemonic in ("rd.param", "rd.kv"):
        given = (instr.integer("rows"), instr.integer("cols"))
        wanted = (region.rows, region.cols)
        if instr.integer("stride") != region.stride:
            return f"stride {instr.integer('stride')}, {region.name} has {region.stride}"
    else:
        given = (instr.integer("heads"), instr.integer("head_stride"))
        wanted = (region.heads, region.head_bytes)
        if instr.integer("stride") != region.stride:
            return f"stride {instr.integer('stride')}, {region.name} has {region.stride}"
    return "" if given == wanted else f"extents {given}, {region.name} has {wanted}"


def _last_problem(instr: Instruction, region: Region) -> str:
    """The last tokens of a cache: of keys rows, of values columns, and enough for every stretch of them."""
    counted, whole = ("rows", "cols") if region.kind == "key" else ("cols", "rows")
    most, other = instr.integer(counted), instr.integer(whole)
    tokens, width = (region.rows, region.cols) if region.kind == "key" else (region.cols, region.rows)
    if not instr.integer(f"{counted}_reg") or instr.integer(f"{whole}_reg"):
        return f"the register must replace {counted}, which are the tokens of {region.name}"
    if instr.integer("stride") != region.stride or other != width:
        return f"{whole} and stride {(other, instr.integer('stride'))}, {region.name} has {(width, region.stride)}"
    return "" if TOKEN_UNIT <= most <= tokens else f"{counted} {most}, allowed are {TOKEN_UNIT}..{tokens}"


def _stream_reads(instr: Instruction) -> list[tuple[str, int, int, _Counted]]:
    """(operand, rows, cols, by which registers) of each stream an instruction consumes."""
    if instr.mnemonic == "mm":
        rows = instr.integer("rows")
        return [("stream", rows, instr.integer("cols"), _counted(instr)), ("bias", rows, 1, _ALL)]
    if instr.mnemonic in ("wr.key", "wr.value"):
        return [("stream", instr.integer("heads") * instr.integer("head_dim"), 1, _ALL)]
    names = [o.name for o in instr.spec.operands if o.kind is Kind.STREAM and o.effect is Effect.READ]
    return [(name, instr.integer("length"), 1, _ALL) for name in names]


def _counted(instr: Instruction) -> _Counted:
    return instr.integer("rows_reg"), instr.integer("cols_reg"), instr.integer("last")


def _named(counted: _Counted) -> str:
    rows, cols, last = counted
    return f"{'the last of ' if last else ''}r{rows} x r{cols}" if rows or cols else "no tokens"


def verify_allocation(instructions: Sequence[Instruction], program: VirtualProgram, lmu_elements: int) -> None:
    """Every LMU read finds what the same read of the virtual program finds.

    Both programs are walked side by side, remembering for each element which
    instruction wrote it last, and as which element of its result.

    Raises:
        VerificationError: a read that finds another value, or none.
    """
    by_address = np.full(lmu_elements, -1, np.int64)
    by_buffer = [np.full(buffer.elements, -1, np.int64) for buffer in program.buffers]
    for pc, (instr, virtual) in enumerate(zip(instructions, program.instructions, strict=True)):
        slots = list(virtual.slots())
        for operand, slot in slots:
            if operand.effect is not Effect.READ:
                continue
            count, address = extent(instr, operand), instr.integer(operand.name)
            found = by_address[address : address + count]
            meant = by_buffer[slot.buffer.index][slot.offset : slot.offset + count]
            if len(found) != count or not np.array_equal(found, meant) or (count and meant.min() < 0):
                raise VerificationError(
                    f"LMU: instruction {pc}: {format_instruction(instr)}: "
                    f"{operand.name} does not hold {slot.buffer.name}"
                )
        for operand, slot in slots:
            if operand.effect is Effect.WRITE:
                count, address = extent(instr, operand), instr.integer(operand.name)
                written = (pc << 32) + np.arange(count)
                by_address[address : address + count] = written
                by_buffer[slot.buffer.index][slot.offset : slot.offset + count] = written
