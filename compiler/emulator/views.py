"""What a stopped machine holds: operands of instructions, LMU and HBM, and what changed since a snapshot.

In: a machine, or its state. Out: the values of `debug_records`. Nothing is
changed, and nothing is refused that a program may not touch: what was never
written is shown as such.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.debug_records import HbmView, LmuView, Operand
from compiler.emulator.accesses import spans
from compiler.emulator.arithmetic import Vector
from compiler.emulator.machine import Machine
from compiler.emulator.memory import ParameterMatrix
from compiler.emulator.state import EngineVector, State
from compiler.emulator.trap import Trap
from compiler.errors import ArtifactError, UsageError
from compiler.isa.encode import Instruction
from compiler.isa.spec import Effect, Kind
from compiler.isa.spec import Operand as Field
from compiler.memory_map import CACHE_KINDS, Region

FIRST_VALUES = 8
VIEW_LIMIT = 4096
"""Most elements of one view."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a program can change of registers, LMU and caches, as it was.

    Attributes:
        registers: signed.
        lmu: per device, up to the last element that was written.
        written: of as many elements.
        caches: region -> which positions were written.
    """

    registers: tuple[int, ...]
    lmu: tuple[Vector, ...]
    written: NDArray[np.bool_]
    caches: dict[str, NDArray[np.bool_]]


def snapshot(state: State) -> Snapshot:
    """A copy of what a program can change: a few hundred KB of the LMU's megabytes, for a model of a billion."""
    end = _written_end(state)
    regions = (each for each in state.memory.memory_map.regions if each.kind in CACHE_KINDS)
    return Snapshot(
        registers=tuple(state.registers),
        lmu=tuple(lmu[:end].copy() for lmu in state.lmu),
        written=state.written[:end].copy(),
        caches={each.name: state.memory.cache(each.name).written.copy() for each in regions},
    )


def _written_end(state: State) -> int:
    """Behind the last element that was ever written."""
    return state.written.tobytes().rfind(b"\x01") + 1  # 0.2 ms for two million elements, numpy's argmax takes 1.3


def changed_registers(state: State, before: Snapshot) -> tuple[int, ...]:
    """Registers that hold another value."""
    pairs = zip(before.registers, state.registers, strict=True)
    return tuple(index for index, (old, new) in enumerate(pairs) if old != new)


def _changed(state: State, before: Snapshot, device: int, begin: int, end: int) -> NDArray[np.bool_]:
    """Which LMU elements hold other bits, or were written for the first time."""
    changed: NDArray[np.bool_] = state.written[begin:end].copy()
    both = min(end, len(before.written))
    if both > begin:
        old, new = before.lmu[device][begin:both].view(np.uint32), state.lmu[device][begin:both].view(np.uint32)
        changed[: both - begin] &= (old != new) | ~before.written[begin:both]
    return changed


def changed_ranges(state: State, before: Snapshot, device: int) -> tuple[tuple[tuple[int, int], ...], int]:
    """Ranges [begin, end) of the LMU that changed, and how many elements they are."""
    changed = _changed(state, before, device, 0, _written_end(state))
    edges = np.flatnonzero(np.diff(changed.astype(np.int8), prepend=0, append=0))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return tuple(pairs), int(changed.sum())


def inputs(machine: Machine, pc: int, device: int) -> tuple[Operand, ...]:
    """What instruction `pc` would read now."""
    return _operands(machine, pc, device, Effect.READ)


def outputs(machine: Machine, pc: int, device: int) -> tuple[Operand, ...]:
    """What instruction `pc`, executed last, has written."""
    return _operands(machine, pc, device, Effect.WRITE)


def _operands(machine: Machine, pc: int, device: int, effect: Effect) -> tuple[Operand, ...]:
    if not 0 <= pc < len(machine.program):
        return ()
    instr, state = machine.program[pc], machine.state
    vectors = {each.operand: each for each in spans(instr) if each.written == (effect is Effect.WRITE)}
    found = []
    for field in instr.spec.operands:
        if field.effect is not effect:
            continue
        value = instr.integer(field.name)
        match field.kind:
            case Kind.LMU if field.name in vectors:
                span = vectors[field.name]
                count = span.elements(state.registers)
                found.append(_vector(state, field.name, span.begin, count, device))
            case Kind.REGISTER if value:
                found.append(Operand(field.name, f"r{value}", 1, (float(state.registers[value]),)))
            case Kind.STREAM if value:
                found.append(_stream(state, field.name, value, device))
            case Kind.HBM:
                found.append(_memory(state, instr, field, device))
            case Kind.IO:
                found.append(_host_word(state, instr, field))
    return tuple(found)


def summary(name: str, where: str, values: Vector, missing: int = 0) -> Operand:
    """An operand with these values."""
    numbers = values[~np.isnan(values)]
    return Operand(
        name=name,
        where=where,
        count=len(values),
        values=tuple(float(each) for each in values[:FIRST_VALUES]),
        low=float(numbers.min()) if len(numbers) else math.nan,
        high=float(numbers.max()) if len(numbers) else math.nan,
        nans=len(values) - len(numbers),
        missing=missing,
    )


def _vector(state: State, name: str, begin: int, count: int, device: int) -> Operand:
    end = min(begin + max(0, count), len(state.written))
    missing = int((~state.written[begin:end]).sum()) + begin + max(0, count) - end
    return summary(name, f"v[{begin}]", state.lmu[device][begin:end], missing)


def _stream(state: State, name: str, slot: int, device: int) -> Operand:
    stream = state.streams[slot]
    if stream is None:
        return Operand(name, f"s{slot} empty")
    if isinstance(stream, EngineVector):
        return summary(name, f"s{slot}", stream.vectors[device])
    where = f"s{slot} {stream.rows} x {stream.cols}"
    if isinstance(stream, ParameterMatrix) and 1 in (stream.rows, stream.cols):
        return summary(name, where, stream.vector(device))
    return Operand(name, where, stream.rows * stream.cols)


def _memory(state: State, instr: Instruction, field: Field, device: int) -> Operand:
    """The memory an instruction names: its region and the first values of its first row."""
    values = {each.name: int(value) for each, value in zip(instr.spec.operands, instr.values, strict=True)}
    address = values[field.name]
    if step := values.get("step", 0):
        address += state.registers[values["index"]] * step
    try:
        place = state.memory.place(address)
    except Trap as trap:
        return Operand(field.name, str(trap))
    where = f"h[{address:#x}] {place.region.name}"
    if place.region.kind in CACHE_KINDS:
        return Operand(field.name, f"{where} head {place.head}{_first_token(state, values)}")
    region = place.region
    shown = min(FIRST_VALUES, region.rows - place.row if region.cols == 1 else region.cols - place.col)
    if region.cols == 1:
        rows = (_row(state, region, device, place.head, place.row + index, 0, 1) for index in range(shown))
        first = [value for row in rows for value in row]
    else:
        first = _row(state, region, device, place.head, place.row, place.col, shown)
    return Operand(field.name, where, region.rows * region.cols, tuple(first))


def _first_token(state: State, values: dict[str, int]) -> str:
    """Where the last tokens of a cache begin."""
    if not values.get("last", 0):
        return ""
    first = max(state.first(values[name], values[f"{name}_reg"], 1) for name in ("rows", "cols"))
    return f" from token {first}"


def _host_word(state: State, instr: Instruction, field: Field) -> Operand:
    offset = instr.integer(field.name) + 4 * state.registers[instr.integer("index")]
    try:
        value = state.host.device_read(offset)
    except Trap as trap:
        return Operand(field.name, str(trap))
    return Operand(field.name, f"io[{offset}]", 1, (float(value),))


def lmu_view(machine: Machine, before: Snapshot, device: int, begin: int, count: int) -> LmuView:
    """LMU elements of a device, clipped to what there is.

    Raises:
        UsageError: `begin` is outside the LMU.
    """
    state = machine.state
    if not 0 <= begin < len(state.written):
        raise UsageError(f"v[{begin}] is outside the {len(state.written)} LMU elements")
    end = min(begin + max(1, min(count, VIEW_LIMIT)), len(state.written))
    return LmuView(
        device=device,
        begin=begin,
        values=tuple(float(each) for each in state.lmu[device][begin:end]),
        written=tuple(bool(each) for each in state.written[begin:end]),
        changed=tuple(bool(each) for each in _changed(state, before, device, begin, end)),
        names=_names(machine, begin, end),
    )


def _names(machine: Machine, begin: int, end: int) -> tuple[str, ...]:
    """Values that live in [begin, end) at the pc; none where the debug information cannot be read."""
    try:
        values = machine.build.debug.values
    except ArtifactError:
        return ()
    alive = (each for each in values if each.first_pc <= machine.pc <= each.last_pc)
    return tuple(f"{each.name} [{each.begin}, {each.end})" for each in alive if each.begin < end and begin < each.end)


def hbm_view(
    machine: Machine, before: Snapshot, device: int, region: str, at: tuple[int, int, int], rows: int, cols: int
) -> HbmView:
    """A rectangle of a region, clipped to what there is.

    Args:
        at: head, row and column of the first element.
        rows, cols: most rows and columns; together at most VIEW_LIMIT elements. Of the host buffer words are shown,
            a column of it is a byte.

    Raises:
        UsageError: there is no such region or element.
    """
    memory = machine.state.memory
    try:
        found = memory.memory_map.region(region)
    except KeyError:
        raise UsageError(f"there is no region {region[:80]!r}", "hyperdex map lists them") from None
    head, row, col = at
    if not (0 <= head < found.heads and 0 <= row < found.rows and 0 <= col < found.cols):
        raise UsageError(
            f"head {head}, row {row}, column {col} is outside region {found.name}: "
            f"{found.heads} of {found.rows} x {found.cols}"
        )
    if found.layout == "host":
        col -= col % 4
        cols = min(cols, (found.cols - col) // 4)
    cols = max(1, min(cols, found.cols - col, VIEW_LIMIT))
    rows = max(1, min(rows, found.rows - row, VIEW_LIMIT // cols))
    values = [_row(machine.state, found, device, head, each, col, cols) for each in range(row, row + rows)]
    known = _flags(found, memory.cache(region).written if found.kind in CACHE_KINDS else None, at, rows, cols)
    old = _flags(found, before.caches.get(region), at, rows, cols)
    return HbmView(
        device=device,
        region=found.name,
        kind=found.kind,
        source=str(found.source),
        head=head,
        row=row,
        col=col,
        rows=tuple(tuple(float(each) for each in line) for line in values),
        known=tuple(tuple(bool(each) for each in line) for line in known),
        changed=tuple(tuple(bool(each) for each in line) for line in known & ~old),
        limits=(found.rows, found.cols, found.heads),
    )


def _row(state: State, region: Region, device: int, head: int, row: int, col: int, cols: int) -> list[float]:
    """Values of one row; words of the host buffer from byte `col` on."""
    itemsize = state.memory.memory_map.dtype.itemsize
    if region.layout == "host":
        return [float(state.host.device_read(at)) for at in range(col, col + 4 * cols, 4)]
    if region.layout == "rows":
        place = region.place(row, col, itemsize, head)
        return [float(each) for each in state.memory.peek(device, place.channel, place.address, cols)]
    places = (region.place(row, each, itemsize, head) for each in range(col, col + cols))
    return [float(state.memory.peek(device, place.channel, place.address, 1)[0]) for place in places]


def _flags(
    region: Region, written: NDArray[np.bool_] | None, at: tuple[int, int, int], rows: int, cols: int
) -> NDArray[np.bool_]:
    """Which elements of a rectangle were written; all of what is no cache."""
    head, row, col = at
    if written is None:
        return np.ones((rows, cols), dtype=np.bool_)
    if region.kind == "key":
        return np.repeat(written[head, row : row + rows, None], cols, axis=1)
    return np.repeat(written[None, head, col : col + cols], rows, axis=0)
