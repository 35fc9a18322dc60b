"""The emulated time of a generation: a table for people, numbers for JSON, a trace for Perfetto."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.cli.output import write_output

if TYPE_CHECKING:
    from compiler.artifacts.manifest import Manifest
    from compiler.emulator.machine import Machine
    from compiler.emulator.report import GenerationTime
    from compiler.emulator.timing import Clock
    from compiler.isa.encode import Instruction

_SHOWN = 8


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
    """The emulated time as JSON fields."""
    return {"kind": "emulated", **asdict(_time(machine, prompt_tokens, new_tokens))}


def timing_lines(machine: Machine, prompt_tokens: int, new_tokens: int) -> list[str]:
    """The emulated time as lines for a terminal."""
    from compiler.emulator.report import breakdown

    time, clock = _time(machine, prompt_tokens, new_tokens), clock_of(machine)
    manifest = machine.build.manifest
    lines = [
        f"emulated on {manifest.num_devices} x {manifest.target}: {time.ms_per_token:.4f} ms/token, "
        f"{time.tokens_per_s:.1f} tokens/s, first token after {time.ttft_ms:.3f} ms",
        f"  {time.stream_bytes / 1e6:.2f} MB of HBM per device and token, {100 * time.bandwidth:.1f}% of its "
        f"bandwidth; {time.joules_per_token:.4g} J/token; bound by {time.binds}",
        "  busy: " + ", ".join(f"{unit} {100 * share:.1f}%" for unit, share in time.busy.items()),
        "  waiting: "
        + ", ".join(f"{name} {100 * share:.1f}%" for name, share in sorted(time.stalls.items()) if "ICP" not in name),
    ]
    token = clock.token(prompt_tokens + new_tokens - 2, slices=True)
    for share in breakdown(token, machine.program, machine.build.debug)[:_SHOWN]:
        lines.append(
            f"  {share.name:<12} {share.unit.value:<4} {share.cycles:>12.0f} cycles in {share.count} instructions"
        )
    return lines


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
