"""Two builds side by side, as values: `hyperdex diff` shows them.

In: opened builds. Out: their facts, and what differs. Pairs are (before, after).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.artifacts.reader import Build

_OPTIONS = ("target", "num_devices", "dtype", "max_length", "revision", "tool_version", "checkpoint_fingerprint")

_STREAMS = {"of parameters": "rd.param", "of caches": "rd.kv", "to other devices": "tx"}


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """What is compared of one build.

    Attributes:
        options: option -> its value as text, the passes among them with what they did.
        by_opcode, by_unit: number of instructions.
        regions: region -> [begin, end) in bytes of every channel.
        bytes: what it takes: parameter files, memory of each device, program.
        streams: instructions that open one, by kind, and those that send a chunk to the other devices.
        ms_per_token: emulated by the clock.
        waits: of these, how long a unit stands still, by unit and reason.
    """

    options: Mapping[str, str]
    by_opcode: Mapping[str, int]
    by_unit: Mapping[str, int]
    regions: Mapping[str, tuple[int, int]]
    bytes: Mapping[str, int]
    streams: Mapping[str, int]
    ms_per_token: float
    waits: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RegionMove:
    """A region of both builds that lies elsewhere or has another size."""

    name: str
    before: tuple[int, int]
    after: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs; `by_opcode` and `by_unit` hold every name, `options` only what differs."""

    identical: bool
    options: dict[str, tuple[str, str]]
    instructions: dict[str, tuple[int, int]]
    by_unit: dict[str, tuple[int, int]]
    by_opcode: dict[str, tuple[int, int]]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[RegionMove, ...]
    unmoved: int
    bytes: dict[str, tuple[int, int]]
    streams: dict[str, tuple[int, int]]
    ms_per_token: tuple[float, float]
    waits: dict[str, tuple[float, float]]


def facts_of(build: Build, tokens: int) -> BuildFacts:
    """The facts of a build, timed for a text of `tokens` tokens, of which the first is the prompt.

    Raises:
        ArtifactError: debug information is damaged, or a word is no instruction.
    """
    from compiler.cli.disasm import decode_build
    from compiler.cli.timing import clock_for
    from compiler.emulator.report import time_generation

    program = decode_build(build)
    memory, manifest = build.memory_map, build.manifest
    options = {name: str(getattr(manifest, name)) for name in _OPTIONS}
    options |= {f"pass {name}": "yes" for name in manifest.passes}
    options |= {f"pass {each.name}": f"{each.before} to {each.after}" for each in build.debug.passes}
    counts = Counter(instr.mnemonic for instr in program)
    time = time_generation(clock_for(manifest, program), 1, tokens - 1)
    return BuildFacts(
        options=options,
        by_opcode=dict(sorted(counts.items())),
        by_unit=dict(sorted(Counter(instr.spec.unit.value for instr in program).items())),
        regions={region.name: (region.begin, region.end) for region in memory.regions},
        bytes={
            "parameter files": sum(entry.size for entry in build.param_manifest.files),
            "memory of each device": memory.end * memory.channels,
            "program": sum(entry.size for entry in manifest.files),
        },
        streams={name: counts[mnemonic] for name, mnemonic in _STREAMS.items()},
        ms_per_token=time.ms_per_token,
        waits={key: share * time.ms_per_token for key, share in sorted(time.stalls.items())},
    )


def compare(first: BuildFacts, second: BuildFacts) -> Comparison:
    """What differs between two builds."""
    shared = [name for name in first.regions if name in second.regions]
    moved = [name for name in shared if first.regions[name] != second.regions[name]]
    options = {name: (first.options.get(name, ""), second.options.get(name, "")) for name in _union(first, second)}
    return Comparison(
        identical=first == second,
        options={name: pair for name, pair in options.items() if pair[0] != pair[1]},
        instructions={"all": (sum(first.by_unit.values()), sum(second.by_unit.values()))},
        by_unit=_pairs(first.by_unit, second.by_unit),
        by_opcode=_pairs(first.by_opcode, second.by_opcode),
        added=tuple(name for name in second.regions if name not in first.regions),
        removed=tuple(name for name in first.regions if name not in second.regions),
        moved=tuple(RegionMove(name, first.regions[name], second.regions[name]) for name in moved),
        unmoved=len(shared) - len(moved),
        bytes=_pairs(first.bytes, second.bytes),
        streams=_pairs(first.streams, second.streams),
        ms_per_token=(first.ms_per_token, second.ms_per_token),
        waits={
            name: (first.waits.get(name, 0.0), second.waits.get(name, 0.0)) for name in {**first.waits, **second.waits}
        },
    )


def _union(first: BuildFacts, second: BuildFacts) -> list[str]:
    """Names of the options of either, in the order of the first."""
    return list(dict.fromkeys([*first.options, *second.options]))


def _pairs(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    names = dict.fromkeys([*before, *after])
    return {name: (before.get(name, 0), after.get(name, 0)) for name in names}
