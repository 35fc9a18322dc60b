"""A trace of one token for Perfetto or chrome://tracing: units as tracks, instructions as slices.

Format: the JSON Array/Object format of the Trace Event documentation: complete
events ("X") with microseconds, metadata events ("M") that name tracks, and flow
events ("s", "f") from the instruction that makes a result to the one that
waits for it on another unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compiler.debug_info import DebugInfo
from compiler.emulator.timing import Clock, TokenTime
from compiler.isa.encode import Instruction
from compiler.isa.spec import Unit
from compiler.isa.text import format_instruction

_UNITS = (Unit.SMA, Unit.SXE, Unit.VXE, Unit.ESL, Unit.ICP)


def trace_events(
    clock: Clock, token: TokenTime, instructions: tuple[Instruction, ...], debug: DebugInfo, num_devices: int
) -> dict[str, Any]:
    """The trace of one token, timed with its slices; all devices run the same program at the same time.

    Returns:
        An object for `json.dump`.
    """
    events: list[Mapping[str, Any]] = []
    scale = 1e6 / clock.rules.target.clock_hz
    for device in range(num_devices):
        events.append(_metadata(device, 0, "process_name", f"device {device}"))
        events += [_metadata(device, _track(unit), "thread_name", unit.value) for unit in _UNITS]
        for piece in token.slices:
            instr = instructions[piece.pc]
            events.append(
                {
                    "name": instr.mnemonic,
                    "cat": instr.spec.group,
                    "ph": "X",
                    "pid": device,
                    "tid": _track(instr.spec.unit),
                    "ts": piece.start * scale,
                    "dur": (piece.end - piece.start) * scale,
                    "args": _arguments(piece.pc, instr, debug),
                }
            )
        events += _flows(clock, token, instructions, device, scale)
    return {
        "displayTimeUnit": "ns",
        "otherData": {"target": clock.rules.target.name, "position": token.position, "cycles": token.cycles},
        "traceEvents": events,
    }


def _flows(
    clock: Clock, token: TokenTime, instructions: tuple[Instruction, ...], device: int, scale: float
) -> Iterator[Mapping[str, Any]]:
    """An arrow for each result that another unit waits for."""
    pieces = token.slices
    for index, sources in enumerate(clock.sources(token)):
        for source in sources:
            maker, reader = instructions[pieces[source].pc], instructions[pieces[index].pc]
            if maker.spec.unit is reader.spec.unit:
                continue
            name = f"{device}:{source}:{index}"
            common = {"name": "result", "cat": "dependence", "id": name, "pid": device}
            begin = pieces[source].end
            yield {**common, "ph": "s", "tid": _track(maker.spec.unit), "ts": begin * scale}
            yield {**common, "ph": "f", "bp": "e", "tid": _track(reader.spec.unit), "ts": pieces[index].start * scale}


def _arguments(pc: int, instr: Instruction, debug: DebugInfo) -> dict[str, Any]:
    node = debug.node_of(pc)
    arguments: dict[str, Any] = {"pc": pc, "instruction": format_instruction(instr)}
    if node is not None:
        arguments |= {"op": node.op, "tensor": str(node), "layer": node.source.layer}
    if 0 <= pc < len(debug.regions) and debug.regions[pc]:
        arguments["region"] = debug.regions[pc]
    return arguments


def _track(unit: Unit) -> int:
    return _UNITS.index(unit) + 1


def _metadata(device: int, track: int, kind: str, name: str) -> Mapping[str, Any]:
    return {"name": kind, "ph": "M", "pid": device, "tid": track, "args": {"name": name}}
