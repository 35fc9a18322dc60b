"""The emulated time of a generation: a table for people, numbers for JSON, a trace for Perfetto."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.cli.output import write_output
from compiler.quantity import counted, nominal, percent_text

if TYPE_CHECKING:
    from compiler.artifacts.manifest import Manifest
    from compiler.debug_info import DebugInfo
    from compiler.emulator.machine import Machine
    from compiler.emulator.report import GenerationTime, Share
    from compiler.emulator.timing import Clock
    from compiler.isa.encode import Instruction
    from compiler.memory_map import MemoryMap

_SHOWN = 8
_WAITS = {
    "SMA": "memory access",
    "SXE": "matrix",
    "VXE": "vector",
    "ESL": "link",
    "ICP": "control",
    "issue": "dispatch",
    "hazard": "operand still in use",
    "stream": "stream",
    "fifo": "full FIFO",
    "end": "nothing left",
}


def clock_of(machine: Machine) -> Clock:
    """The clock of the build that a machine runs."""
    return clock_for(machine.build.manifest, machine.program)


def clock_for(manifest: Manifest, program: Sequence[Instruction]) -> Clock:
    """The clock of a build, from its manifest and its decoded program."""
    from compiler.emulator.timing import Clock
    from compiler.target import load_target
    from compiler.target.timing import rules_for

    rules = rules_for(load_target(manifest.target), manifest.num_devices, manifest.dtype.itemsize, manifest.topology)
    return Clock(program, rules)


def timing_object(machine: Machine, prompt_tokens: int, new_tokens: int) -> dict[str, Any]:
    """The emulated time as JSON fields: those of an estimate, and where the cycles of the last token go."""
    manifest, time = machine.build.manifest, _time(machine, prompt_tokens, new_tokens)
    fields: dict[str, Any] = {
        "kind": "emulated",
        "target": manifest.target,
        "num_device": manifest.num_devices,
        "topology": manifest.topology,
        **asdict(time),
        "utilization": _utilization(machine, time),
    }
    for name, by_layer in (("ops", False), ("layers", True)):
        shares = _last_token(machine, prompt_tokens + new_tokens - 2, by_layer)
        fields[name] = [{**asdict(share), "unit": share.unit.value} for share in shares]
    return fields


def timing_lines(machine: Machine, prompt_tokens: int, new_tokens: int) -> list[str]:
    """The emulated time as lines for a terminal."""
    time, manifest = _time(machine, prompt_tokens, new_tokens), machine.build.manifest
    first, last = time.ms_at[0], time.ms_at[-1]
    lines = [
        f"emulated on {manifest.num_devices} x {manifest.target}: {time.ms_per_token:.4f} ms/token, "
        f"{time.tokens_per_s:.1f} tokens/s, first token after {time.ttft_ms:.3f} ms",
        f"  {first[1]:.4f} ms at position {first[0]}, {last[1]:.4f} ms at position {last[0]}",
        f"  {time.stream_bytes / 1e6:.2f} MB of HBM per device and token, {percent_text(time.bandwidth)} of its "
        f"bandwidth; utilisation {percent_text(_utilization(machine, time))} by nominal parameters; "
        f"{time.joules_per_token:.4g} J/token; bound by {time.binds}",
        "  busy: " + ", ".join(f"{unit} {percent_text(share)}" for unit, share in time.busy.items()),
    ]
    for unit in time.busy:
        waits = {name.split()[1]: share for name, share in time.stalls.items() if name.split()[0] == unit}
        shown = sorted(waits.items(), key=lambda wait: -wait[1])
        lines.append(f"  {unit} waits: " + ", ".join(f"{_WAITS[why]} {percent_text(share)}" for why, share in shown))
    for share in _last_token(machine, prompt_tokens + new_tokens - 2)[:_SHOWN]:
        spent = f"{share.cycles:>12.0f} cycles in {counted(share.count, 'instruction')}, {share.waited:.0f} waited"
        lines.append(f"  {share.name:<12} {share.unit.value:<4} {spent}")
    return lines


def _last_token(machine: Machine, position: int, by_layer: bool = False) -> list[Share]:
    from compiler.emulator.report import breakdown

    token = clock_of(machine).token(position, slices=True)
    return breakdown(token, machine.program, machine.build.debug, by_layer)


def _utilization(machine: Machine, time: GenerationTime) -> float:
    """Nominal parameter bytes over what all devices could have moved in the time of a token."""
    from compiler.target import load_target

    manifest = machine.build.manifest
    moved = manifest.num_devices * load_target(manifest.target).hbm_bytes_per_s * time.ms_per_token / 1e3
    read = read_parameters(machine.build.memory_map, machine.program, machine.build.debug)
    return nominal(read) * manifest.dtype.itemsize / moved


def read_parameters(memory_map: MemoryMap, program: Sequence[Instruction], debug: DebugInfo) -> int:
    """Elements of the tensors that a token needs, copies counted once; of a mixture's experts, as many as are chosen.

    A matrix of the chosen expert is streamed from the region of the first one, by a register, for one node per choice.
    """
    chosen: dict[str, set[int]] = {}
    for pc, instr in enumerate(program):
        if instr.mnemonic in ("rd.param", "rd.embed"):
            readers = chosen.setdefault(debug.regions[pc], set())
            if instr.mnemonic == "rd.param" and instr.integer("index"):
                readers.add(debug.instruction_nodes[pc])
    held: dict[tuple[str, str], dict[tuple[object, ...], int]] = {}
    for region in memory_map.regions:
        if region.is_parameter and region.source.tensor and region.name in chosen:
            times = len(chosen[region.name])
            for part in region.segments:
                # Matrices of experts may be cut from one tensor, each with rows of its own.
                rectangle = (region.name if times else "", part.source_row, part.source_col, part.rows, part.cols)
                held.setdefault((region.source.tensor, region.layout), {})[rectangle] = (
                    part.rows * part.cols * max(1, times)
                )
    counts: dict[str, int] = {}
    for (tensor, _), elements in held.items():
        # A tied tensor is held as a table and as a matrix.
        counts[tensor] = max(counts.get(tensor, 0), sum(elements.values()))
    return sum(counts.values())


def save_trace(machine: Machine, path: Path, position: int) -> None:
    """Write the trace of the token at a position, as Chrome's trace event JSON."""
    from compiler.emulator.trace import trace_events

    clock, build = clock_of(machine), machine.build
    token = clock.token(position, slices=True)
    events = trace_events(clock, token, machine.program, build.debug, build.manifest.num_devices)
    write_output(path, json.dumps(events, separators=(",", ":")).encode())


def _time(machine: Machine, prompt_tokens: int, new_tokens: int) -> GenerationTime:
    from compiler.emulator.report import time_generation

    return time_generation(clock_of(machine), prompt_tokens, new_tokens)
