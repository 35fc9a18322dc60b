"""Phase 0 without input or output: what a config.json and the options of a compile lead to.

The graph after its passes, its memory map, and whether it fits; nothing is
read and nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compiler.checkpoint.config import CheckpointConfig
from compiler.checkpoint.special_tokens import check_special_tokens
from compiler.dtypes import DType, build_dtype
from compiler.errors import UsageError
from compiler.graph.architectures import build_graph
from compiler.graph.ir import Graph
from compiler.graph.passes import Pass, passes_for, run_passes
from compiler.graph.verify import verify_graph
from compiler.mapping import plan as layout
from compiler.mapping.partition import AT_ONCE, Chunks
from compiler.program.build import Program, build_program
from compiler.program.chunks import ChunkTransmit
from compiler.program.costs import CostModel, choose_window, cost_model
from compiler.program.schedule import Overlap
from compiler.target import DEFAULT_TARGET, Target, check_device_count, load_target
from compiler.target.timing import Rules, rules_for

PASS_NAMES = (*(step.name for step in passes_for(True, True)), ChunkTransmit.name, Overlap.name)
"""All passes, in the order in which they run."""

_WINDOWS = (4, 8, 16, 24, 32)
"""Instructions ahead of the oldest that waits, of which the clock chooses."""

_LAYERS_AHEAD = 2
"""Layers more than show each kind, on which the widest window has to prove itself."""


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """What a compile may be asked for; see `hyperdex compile --help`.

    Attributes:
        fusion, reorder: whether these groups of passes run.
        without: names of further passes that do not.
        chunks: in how many pieces vectors are gathered; None to let the clock choose.
        topology: "" for the target's own.
    """

    num_devices: int = 1
    target: str = DEFAULT_TARGET
    dtype: str = "float16"
    max_length: int | None = None
    revision: str | None = None
    offline: bool = False
    force: bool = False
    low_memory_usage: bool = False
    allow_overflow: bool = False
    fusion: bool = True
    reorder: bool = True
    topology: str = ""
    without: tuple[str, ...] = ()
    chunks: Chunks | None = None

    def passes(self) -> tuple[Pass, ...]:
        """Graph passes these options ask for.

        Raises:
            UsageError: there is no pass of a name in `without`.
        """
        if unknown := [name for name in self.without if name not in PASS_NAMES]:
            raise UsageError(f"there is no pass {unknown[0]!r}", f"passes: {', '.join(PASS_NAMES)}")
        return tuple(step for step in passes_for(self.fusion, self.reorder) if step.name not in self.without)

    def overlap(self, max_length: int) -> Overlap | None:
        """The reordering of instructions, for texts half as long as the caches."""
        wanted = self.reorder and Overlap.name not in self.without
        return Overlap(tokens=max(1, max_length // 2)) if wanted else None

    def chunk_transmit(self) -> ChunkTransmit | None:
        """The pass that gathers in chunks; it is of use only to a reordered program."""
        wanted = self.reorder and not {ChunkTransmit.name, Overlap.name} & {*self.without}
        return ChunkTransmit() if wanted else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What phase 0 decides, from config.json alone.

    Attributes:
        reports: for each graph pass its name and the number of nodes before and after.
        pass_names: of the passes that decide what lies where, with what they chose.
        rules: latency rules of the build.
    """

    config: Mapping[str, Any]
    graph: Graph
    mapping: layout.Mapping
    target: Target
    dtype: DType
    max_length: int
    reports: tuple[tuple[str, int, int], ...]
    pass_names: tuple[str, ...]
    rules: Rules

    @property
    def lmu_elements(self) -> int:
        """Capacity of the LMU in elements of the build's dtype."""
        return self.target.lmu_bytes // self.dtype.itemsize


def check_options(options: CompileOptions) -> tuple[Target, DType, Rules]:
    """Judge what needs no config.json; target, dtype and latency rules that the options name.

    Raises:
        UsageError: an option out of range, no such pass, or devices that the topology cannot wire.
    """
    target, dtype = load_target(options.target), build_dtype(options.dtype)
    check_device_count(options.num_devices)
    if options.max_length is not None and options.max_length < layout.LEAST_LENGTH:
        raise UsageError(f"max_length {options.max_length} is less than {layout.LEAST_LENGTH}, a prompt and an answer")
    options.passes()
    return target, dtype, rules_for(target, options.num_devices, dtype.itemsize, options.topology)


def make_plan(config: Mapping[str, Any], options: CompileOptions) -> Plan:
    """The graph after its passes, mapped to devices.

    Raises:
        UnsupportedModelError: not an architecture or field this compiler handles.
        UsageError: an option out of range, or devices that the topology cannot wire.
        CapacityError: too large for the devices; names the smallest N that fits.
    """
    target, dtype, rules = check_options(options)
    graph = build_graph(CheckpointConfig(config))
    check_special_tokens(CheckpointConfig(config))
    verify_graph(graph)
    max_length = layout.resolve_max_length(graph, options.max_length)
    reports: list[tuple[str, int, int]] = []
    graph = run_passes(
        graph, options.passes(), lambda step, old, new: reports.append((step.name, len(old.nodes), len(new.nodes)))
    )
    names = [name for name, _, _ in reports]
    layout.check_fits(graph, target, options.num_devices, dtype, max_length)
    costs = cost_model(graph, target, rules, dtype, max_length, max(1, max_length // 2))
    chunks = choose_chunks(costs, options, max_length)
    if options.chunk_transmit() is not None or chunks != AT_ONCE:
        names.append(" ".join(filter(None, (ChunkTransmit.name, str(chunks)))))
    mapping = layout.plan_mapping(graph, target, options.num_devices, dtype, max_length, chunks)
    return Plan(config, graph, mapping, target, dtype, max_length, tuple(reports), tuple(names), rules)


def plan_memory(config: Mapping[str, Any], options: CompileOptions) -> layout.MemoryPlan:
    """Bytes per device and whether they fit, from config.json alone; does not raise when they do not fit.

    Raises:
        UnsupportedModelError, UsageError: as `make_plan`.
    """
    check_device_count(options.num_devices)
    graph = build_graph(CheckpointConfig(config))
    max_length = layout.resolve_max_length(graph, options.max_length)
    return layout.plan_memory(
        graph, load_target(options.target), options.num_devices, build_dtype(options.dtype), max_length
    )


def choose_chunks(costs: CostModel, options: CompileOptions, max_length: int) -> Chunks:
    """In how many pieces a build gathers its vectors."""
    overlap, transmit = options.overlap(max_length), options.chunk_transmit()
    if options.chunks is not None or overlap is None or transmit is None:
        return options.chunks or AT_ONCE
    return transmit.choose(costs, overlap)


def choose_overlap(costs: CostModel, several: CostModel, chunks: Chunks, overlap: Overlap) -> Overlap:
    """The reordering of a build, with the window of which its program gains most.

    Args:
        costs: by which a window is proposed.
        several: of more layers; by these the widest window is compared with the next, for it reaches into layers that
            follow.
    """
    proposed = choose_window(costs, chunks, overlap, _WINDOWS)
    return proposed if proposed.window < _WINDOWS[-1] else choose_window(several, chunks, overlap, _WINDOWS[-2:])


def make_program(plan: Plan, options: CompileOptions) -> Program:
    """Phase 4 without output: the verified program of a plan.

    Raises:
        CapacityError: the values alive at one time exceed the LMU.
    """
    overlap = options.overlap(plan.max_length)
    if overlap is not None:
        of_build = plan.graph, plan.target, plan.rules, plan.dtype, plan.max_length, overlap.tokens
        costs, several = cost_model(*of_build), cost_model(*of_build, more=_LAYERS_AHEAD)
        overlap = choose_overlap(costs, several, plan.mapping.partition.chunks, overlap)
    return build_program(plan.graph, plan.mapping, plan.lmu_elements, plan.rules, overlap, plan.reports)
