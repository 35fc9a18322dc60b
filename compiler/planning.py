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
from compiler.graph.architectures import build_graph
from compiler.graph.ir import Graph
from compiler.graph.passes import Pass, passes_for, run_passes
from compiler.graph.verify import verify_graph
from compiler.mapping import plan as layout
from compiler.program.build import Program, build_program
from compiler.program.schedule import Overlap
from compiler.target import DEFAULT_TARGET, Target, check_device_count, load_target
from compiler.target.timing import Rules, rules_for


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """What a compile may be asked for; see `hyperdex compile --help`. No topology means the target's own."""

    num_devices: int = 1
    target: str = DEFAULT_TARGET
    dtype: str = "float16"
    max_length: int | None = None
    revision: str | None = None
    offline: bool = False
    force: bool = False
    low_memory_usage: bool = False
    fusion: bool = True
    reorder: bool = True
    topology: str = ""

    def passes(self) -> tuple[Pass, ...]:
        """Graph passes these options ask for."""
        return passes_for(self.fusion, self.reorder)

    def overlap(self, max_length: int) -> Overlap | None:
        """The reordering of instructions, for texts half as long as the caches."""
        return Overlap(tokens=max(1, max_length // 2)) if self.reorder else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What phase 0 decides, from config.json alone.

    Attributes:
        reports: for each pass its name and the number of nodes before and after.
        rules: latency rules of the build.
    """

    config: Mapping[str, Any]
    graph: Graph
    mapping: layout.Mapping
    target: Target
    dtype: DType
    max_length: int
    reports: tuple[tuple[str, int, int], ...]
    rules: Rules

    @property
    def lmu_elements(self) -> int:
        """Capacity of the LMU in elements of the build's dtype."""
        return self.target.lmu_bytes // self.dtype.itemsize


def make_plan(config: Mapping[str, Any], options: CompileOptions) -> Plan:
    """The graph after its passes, mapped to devices.

    Raises:
        UnsupportedModelError: not an architecture or field this compiler handles.
        UsageError: an option out of range, or devices that the topology cannot wire.
        CapacityError: too large for the devices; names the smallest N that fits.
    """
    target, dtype = load_target(options.target), build_dtype(options.dtype)
    check_device_count(options.num_devices)
    rules = rules_for(target, options.num_devices, dtype.itemsize, options.topology)
    graph = build_graph(CheckpointConfig(config))
    check_special_tokens(CheckpointConfig(config))
    verify_graph(graph)
    max_length = layout.resolve_max_length(graph, options.max_length)
    reports: list[tuple[str, int, int]] = []
    graph = run_passes(
        graph, options.passes(), lambda step, old, new: reports.append((step.name, len(old.nodes), len(new.nodes)))
    )
    mapping = layout.plan_mapping(graph, target, options.num_devices, dtype, max_length)
    return Plan(config, graph, mapping, target, dtype, max_length, tuple(reports), rules)


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


def make_program(plan: Plan, options: CompileOptions) -> Program:
    """Phase 4 without output: the verified program of a plan.

    Raises:
        CapacityError: the values alive at one time exceed the LMU.
    """
    overlap = options.overlap(plan.max_length)
    return build_program(plan.graph, plan.mapping, plan.lmu_elements, plan.rules, overlap, plan.reports)
