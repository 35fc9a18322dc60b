"""A trace of one token for Perfetto or chrome://tracing: units as tracks, instructions as slices.

Format: the JSON Object format of the Trace Event documentation: complete
events ("X") with microseconds, metadata events ("M") that name processes and
tracks, and flow events ("s", "f") from the instruction that makes a result to
the one that waits for it on another unit. Slices of a track never overlap:
rows and cache writes, which pass the streams of the SMA, have tracks of their
own. All devices run the same program at the same time; each is a process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compiler.debug_info import DebugInfo
from compiler.emulator.timing import Clock, Slice, TokenTime
from compiler.isa.encode import Instruction
from compiler.isa.spec import Unit
from compiler.isa.text import format_instruction

_UNITS = (Unit.SMA, Unit.SXE, Unit.VXE, Unit.ESL, Unit.ICP)
_STREAMS = ("rd.param", "rd.kv")


def trace_events(
    clock: Clock, token: TokenTime, instructions: tuple[Instruction, ...], debug: DebugInfo, num_devices: int
) -> dict[str, Any]:
    """The trace of one token, timed with its slices.

    Returns:
        An object for `json.dump`.
    """
    clock_hz = clock.rules.target.clock_hz
    tracks = _tracks(token.slices, instructions)
    names = {
        tracks[index]: _track_name(tracks[index], instructions[piece.pc]) for index, piece in enumerate(token.slices)
    }
    names |= {track + 1: unit.value for track, unit in enumerate(_UNITS)}
    body = [
        _slice(piece, instructions[piece.pc], debug, tracks[index], clock_hz)
        for index, piece in enumerate(token.slices)
    ]
    body += _flows(clock, token, instructions, tracks, clock_hz)
    body.sort(key=lambda event: float(event["ts"]))
    events: list[Mapping[str, Any]] = []
    for device in range(num_devices):
        events.append(_metadata(device, 0, "process_name", f"device {device}"))
        for track, name in sorted(names.items()):
            events.append(_metadata(device, track, "thread_name", name))
            events.append({**_metadata(device, track, "thread_sort_index", ""), "args": {"sort_index": track}})
    for event in body:
        for device in range(num_devices):
            flow = {"id": f"{device}:{event['id']}"} if "id" in event else {}
            events.append({**event, "pid": device, **flow})
    return {
        "displayTimeUnit": "ns",
        "otherData": {"target": clock.rules.target.name, "position": token.position, "cycles": token.cycles},
        "traceEvents": events,
    }


def _tracks(slices: Sequence[Slice], instructions: Sequence[Instruction]) -> list[int]:
    """The track of each slice: its unit's, or for what passes the streams of the SMA the first that is free."""
    busy_until: list[int] = []
    found = []
    for piece in slices:
        instr = instructions[piece.pc]
        if instr.spec.unit is not Unit.SMA or instr.mnemonic in _STREAMS:
            found.append(_UNITS.index(instr.spec.unit) + 1)
            continue
        free = [lane for lane, end in enumerate(busy_until) if end <= piece.start]
        if not free:
            free = [len(busy_until)]
            busy_until.append(0)
        busy_until[free[0]] = piece.end
        found.append(len(_UNITS) + 1 + free[0])
    return found


def _track_name(track: int, instr: Instruction) -> str:
    beside = track - len(_UNITS)
    return f"SMA beside streams {beside}" if beside > 0 else instr.spec.unit.value


def _slice(piece: Slice, instr: Instruction, debug: DebugInfo, track: int, clock_hz: float) -> dict[str, Any]:
    return {
        "name": instr.mnemonic,
        "cat": instr.spec.group,
        "ph": "X",
        "tid": track,
        "ts": _microseconds(piece.start, clock_hz),
        "dur": _microseconds(piece.end - piece.start, clock_hz),
        "args": _arguments(piece, instr, debug),
    }


def _flows(
    clock: Clock, token: TokenTime, instructions: Sequence[Instruction], tracks: Sequence[int], clock_hz: float
) -> Iterator[dict[str, Any]]:
    """An arrow for each result that another unit waits for, from the middle of a slice to the beginning of another."""
    pieces = token.slices
    known = list(clock.sources(token))
    for index in range(len(pieces)):
        for source in sorted(_makers(index, known, pieces)):
            maker, reader = instructions[pieces[source].pc], instructions[pieces[index].pc]
            if maker.spec.unit is reader.spec.unit:
                continue
            common = {"name": "result", "cat": "dependence", "id": f"{source}:{index}"}
            begin = min((pieces[source].start + pieces[source].end) / 2, pieces[index].start)
            yield {**common, "ph": "s", "tid": tracks[source], "ts": _microseconds(begin, clock_hz)}
            yield {
                **common,
                "ph": "f",
                "bp": "e",
                "tid": tracks[index],
                "ts": _microseconds(pieces[index].start, clock_hz),
            }


def _microseconds(cycles: float, clock_hz: float) -> float:
    """Cycles in microseconds; never just below a whole nanosecond, for viewers cut off what is behind it."""
    found = cycles * 1e6 / clock_hz
    whole = round(found * 1e3)
    while found * 1e3 < whole and math.isclose(found * 1e3, whole, rel_tol=1e-12):
        found = math.nextafter(found, math.inf)
    return found


def _makers(index: int, known: Sequence[Sequence[int]], pieces: Sequence[Slice]) -> set[int]:
    """Whose results a slice waits for; a receive takes no time and no arrow, so that its transmit stands for it."""
    found: set[int] = set()
    for source in known[index]:
        found |= {source} if pieces[source].end > pieces[source].start else _makers(source, known, pieces)
    return found


def _arguments(piece: Slice, instr: Instruction, debug: DebugInfo) -> dict[str, Any]:
    node = debug.node_of(piece.pc)
    arguments: dict[str, Any] = {"pc": piece.pc, "instruction": format_instruction(instr), "issued": piece.issue}
    if node is not None:
        arguments |= {"op": node.op, "tensor": str(node), "layer": node.source.layer}
    if 0 <= piece.pc < len(debug.regions) and debug.regions[piece.pc]:
        arguments["region"] = debug.regions[piece.pc]
    if piece.stream_bytes:
        arguments["bytes"] = piece.stream_bytes
    if piece.waited:
        arguments |= {"stalled cycles": piece.waited, "waited for": piece.reason}
    return arguments


def _metadata(device: int, track: int, kind: str, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": device, "tid": track, "args": {"name": name}}
