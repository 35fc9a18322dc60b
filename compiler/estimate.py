"""What N devices will give, from config.json alone: does it fit, and how fast.

The scheduler's clock times the real program of a few layers that stand for
all. Nothing is downloaded, no weight is read, no number is computed. What
several targets and device counts have in common is worked out once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from compiler.checkpoint.config import CheckpointConfig
from compiler.checkpoint.special_tokens import check_special_tokens
from compiler.dtypes import DType
from compiler.emulator.report import first_token_cycles, mean_token, what_binds
from compiler.emulator.timing import TokenTime
from compiler.errors import CapacityError, HyperDexError, UnsupportedModelError, UsageError
from compiler.graph.architectures import build_graph
from compiler.graph.excerpt import excerpt
from compiler.graph.ir import Graph
from compiler.graph.passes import run_passes
from compiler.graph.verify import verify_graph
from compiler.mapping.plan import Sizes, memory_of, resolve_max_length
from compiler.memory_map import CHANNELS
from compiler.planning import CompileOptions, check_options, choose_chunks, choose_overlap
from compiler.program.build import order
from compiler.program.costs import CostModel, LoweredPrograms, decisive
from compiler.program.token_path import TokenPath
from compiler.program.virtual import VirtualProgram
from compiler.quantity import bytes_text, nominal
from compiler.target import Target, load_target
from compiler.target.timing import Rules


@dataclass(frozen=True, slots=True)
class Estimate:
    """One target with N devices.

    Attributes:
        fits: whether the model does; without it the times are None.
        reason: why it does not, "" when it does.
        bytes_per_device: weights with padding, caches at max_length, host buffer.
        smallest_fit: fewest devices that hold it, 0 for none.
        weight_bytes: the parameters' share of the bytes, padding and copies included.
        kv_bytes: the caches' share.
        padding_bytes: what the parameters take beyond an even share: padding, and what every device has for itself.
        ms_per_token: mean over the generated tokens.
        ms_at: position of a token and the milliseconds it takes, ascending.
        ttft_ms: time to first token, the prompt fed token by token.
        utilization: nominal bytes of the parameters that a token needs / (devices x bandwidth x ms_per_token).
        joules_per_token: power of all devices times ms_per_token.
        busy: share of the token for which each unit works.
        stalls: share of the token for which a unit stands still, by unit and reason.
        binds: what takes most of the time: "memory", "matrix unit", "vector unit", "link" or "latency".
    """

    target: str
    num_device: int
    topology: str
    dtype: str
    max_length: int
    fits: bool
    bytes_per_device: int
    capacity_bytes: int
    smallest_fit: int
    weight_bytes: int = 0
    kv_bytes: int = 0
    padding_bytes: int = 0
    ms_per_token: float | None = None
    tokens_per_s: float | None = None
    ttft_ms: float | None = None
    utilization: float | None = None
    joules_per_token: float | None = None
    ms_at: tuple[tuple[int, float], ...] = ()
    busy: Mapping[str, float] = field(default_factory=dict)
    stalls: Mapping[str, float] = field(default_factory=dict)
    binds: str = ""
    reason: str = ""


def check_builds(builds: Sequence[CompileOptions]) -> None:
    """Refuse options with which no build is possible, whatever the model.

    Raises:
        UsageError: that of the first one.
    """
    errors = [error for error in map(_usage_error, builds) if error is not None]
    if len(errors) == len(builds):
        raise errors[0]


def _usage_error(options: CompileOptions) -> UsageError | None:
    try:
        check_options(options)
    except UsageError as error:
        return error
    return None


def estimate(
    config: Mapping[str, Any], options: CompileOptions, input_tokens: int = 32, output_tokens: int = 2016
) -> Estimate:
    """Estimate one build.

    Raises:
        UnsupportedModelError, UsageError: as `planning.make_plan`, or a text longer than the model allows.
    """
    return Estimator(config, input_tokens, output_tokens).estimate(options)


class Estimator:
    """Estimates the builds of one model for one length of text.

    Args:
        config: the model's config.json.
        output_tokens: None for 2016, or what the model and `max_length` have room for.
        max_length: that of the builds, where they have one.

    Raises:
        UnsupportedModelError, UsageError: as `planning.make_plan`.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        input_tokens: int = 32,
        output_tokens: int | None = 2016,
        max_length: int | None = None,
    ) -> None:
        self._graph = build_graph(CheckpointConfig(config))
        if output_tokens is None:
            room = min(max_length or self._graph.max_positions, self._graph.max_positions)
            output_tokens = max(1, min(2016, room - input_tokens))
        if input_tokens < 1 or output_tokens < 1:
            raise UsageError(f"{input_tokens} input and {output_tokens} output tokens: each must be at least 1")
        check_special_tokens(CheckpointConfig(config))
        self._count, self._read = parameter_count(self._graph), read_parameters(self._graph)
        self._input, self._output = input_tokens, output_tokens
        self._excerpt = excerpt(self._graph)
        verify_graph(self._excerpt.graph)
        self._sizes: dict[tuple[DType, int], Sizes] = {}
        self._lowered: dict[tuple[object, ...], _Lowered] = {}

    @property
    def output_tokens(self) -> int:
        """Tokens to generate."""
        return self._output

    def estimate_all(self, builds: Sequence[CompileOptions]) -> list[Estimate]:
        """Estimate several builds; one that cannot be does not fit, and says why.

        Raises:
            HyperDexError: that of the first one, if none can be.
        """
        found: list[Estimate] = []
        errors: list[HyperDexError] = []
        for options in builds:
            try:
                found.append(self.estimate(options))
            except (UsageError, UnsupportedModelError) as error:
                errors.append(error)
                found.append(_impossible(options, error))
        if len(errors) == len(builds):
            raise errors[0]
        return found

    def estimate(self, options: CompileOptions) -> Estimate:
        """Estimate one build.

        Raises:
            UsageError: an option out of range, or a text longer than the build or the model allows.
            UnsupportedModelError: a program that the machine has too few registers for.
        """
        _, dtype, rules = check_options(options)
        max_length = self._max_length(options)
        if (dtype, max_length) not in self._sizes:
            self._sizes[dtype, max_length] = Sizes(self._graph, dtype, max_length)
        memory = memory_of(self._sizes[dtype, max_length], rules.target, options.num_devices)
        found = Estimate(
            target=options.target,
            num_device=options.num_devices,
            topology=rules.wiring.topology,
            dtype=options.dtype,
            max_length=max_length,
            fits=memory.fits,
            bytes_per_device=memory.bytes_per_device,
            capacity_bytes=memory.capacity_bytes,
            smallest_fit=memory.smallest_fit,
            weight_bytes=memory.weight_bytes,
            kv_bytes=memory.kv_bytes,
            padding_bytes=memory.weight_bytes - self._count * dtype.itemsize // options.num_devices,
        )
        if not memory.fits:
            needed, has = bytes_text(memory.bytes_per_device), bytes_text(memory.capacity_bytes)
            return replace(found, reason=f"each device needs {needed} and has {has}")
        try:
            return self._timed(found, options, rules, dtype)
        except CapacityError as error:  # the model fits the HBM, one of its vectors not the LMU
            return replace(found, fits=False, smallest_fit=0, reason=str(error))

    def _timed(self, found: Estimate, options: CompileOptions, rules: Rules, dtype: DType) -> Estimate:
        """The estimate with its times."""
        lowered = self._lower(options, dtype, found.max_length)
        program = self._ordered(lowered, options, rules, dtype, found.max_length)
        more = dict(self._excerpt.stands_for)
        layers = [lowered.graph.nodes[instr.node].source.layer for instr in program.instructions]
        counts = [
            1 + more.get(layer, 0) if instr.node >= 0 else 1
            for layer, instr in zip(layers, program.instructions, strict=True)
        ]
        decode, prompt = (
            _token_at(TokenPath(program.instructions, program.labels, rules, prompt=each, stands_for=counts))
            for each in (False, True)
        )
        mean, *tokens = mean_token(decode, self._input, self._output)
        clock_hz, devices = rules.target.clock_hz, rules.num_devices
        seconds = mean.cycles / clock_hz
        nominal_bytes = nominal(self._read) * dtype.itemsize
        return replace(
            found,
            ms_per_token=seconds * 1e3,
            tokens_per_s=1 / seconds,
            ttft_ms=first_token_cycles(decode, prompt, self._input) / clock_hz * 1e3,
            utilization=nominal_bytes / (devices * rules.target.hbm_bytes_per_s * seconds),
            joules_per_token=rules.target.watts * devices * seconds,
            ms_at=tuple((token.position, token.cycles / clock_hz * 1e3) for token in tokens),
            busy={unit.value: cycles / mean.cycles for unit, cycles in mean.busy.items()},
            stalls={f"{unit.value} {why}": cycles / mean.cycles for (unit, why), cycles in mean.stalls.items()},
            binds=what_binds(mean),
        )

    def _lower(self, options: CompileOptions, dtype: DType, max_length: int) -> _Lowered:
        """The excerpt in instructions, the same for all targets."""
        key = (options.passes(), options.num_devices, dtype, max_length)
        if key not in self._lowered:
            graph = run_passes(self._excerpt.graph, options.passes())
            self._lowered[key] = _Lowered(graph, load_target(options.target), options.num_devices, dtype, max_length)
        return self._lowered[key]

    def _ordered(
        self, lowered: _Lowered, options: CompileOptions, rules: Rules, dtype: DType, max_length: int
    ) -> VirtualProgram:
        """The excerpt in the order that suits a target.

        Raises:
            CapacityError: the values alive at one time exceed the LMU.
        """
        elements = rules.target.lmu_bytes // dtype.itemsize
        costs = CostModel(lowered.short, lowered.programs, rules, elements, max(1, max_length // 2))
        chunks, overlap = choose_chunks(costs, options, max_length), options.overlap(max_length)
        if overlap is not None:
            several = replace(costs, graph=lowered.graph, programs=lowered.whole)
            overlap = choose_overlap(costs, several, chunks, overlap)
        return order(lowered.whole.with_chunks(chunks), elements, rules, overlap)[0]

    def _max_length(self, options: CompileOptions) -> int:
        positions = self._graph.max_positions
        if options.max_length is not None:
            resolve_max_length(self._graph, options.max_length)  # refused here when a compile refuses it
        needed = self._input + self._output
        limit = options.max_length or positions
        if needed > limit:
            raise UsageError(
                f"{self._input} input and {self._output} output tokens exceed "
                f"{'max_length' if options.max_length else 'max_position_embeddings'} {limit}",
                "ask for fewer with --input-tokens and --output-tokens",
            )
        return options.max_length or max(needed, min(positions, 4096))


class _Lowered:
    """The excerpt's programs, and the shorter ones by which chunks and window are chosen."""

    def __init__(self, graph: Graph, target: Target, num_devices: int, dtype: DType, max_length: int) -> None:
        self.graph = graph
        self.short = decisive(graph)
        self.programs = LoweredPrograms(self.short, target, num_devices, dtype, max_length)
        self.whole = LoweredPrograms(graph, target, num_devices, dtype, max_length)


def _impossible(options: CompileOptions, error: HyperDexError) -> Estimate:
    """A build that cannot be, as one that does not fit."""
    return Estimate(
        target=options.target,
        num_device=options.num_devices,
        topology=options.topology or load_target(options.target).link.topology,
        dtype=options.dtype,
        max_length=options.max_length or 0,
        fits=False,
        bytes_per_device=0,
        capacity_bytes=load_target(options.target).channel_bytes * CHANNELS,
        smallest_fit=0,
        reason=str(error),
    )


def _token_at(path: TokenPath) -> Callable[[int], TokenTime]:
    """The tokens of a path by their position, each timed once."""

    @cache
    def at(position: int) -> TokenTime:
        token = path.at(position)
        stalls = {key: float(cycles) for key, cycles in token.stalls.items() if cycles > 0}
        busy = {unit: float(cycles) for unit, cycles in token.busy.items()}
        return TokenTime(position, float(token.cycles), token.stream_bytes, busy, stalls)

    return at


def parameter_count(graph: Graph) -> int:
    """Elements of all tensors of a checkpoint, a tied head counted once."""
    shapes = {name: shape for parameter in graph.parameters for name, shape in parameter.tensors}
    return sum(math.prod(shape) for shape in shapes.values())


def read_parameters(graph: Graph) -> int:
    """Elements of the tensors that a token needs: of the experts of a mixture, as many as are chosen."""
    shapes = {parameter.name: parameter.shape for parameter in graph.parameters}
    chosen: Counter[tuple[str, ...]] = Counter()
    for node in graph.nodes:
        if node.op == "expert":
            for role in ("expert", "bias"):
                chosen[tuple(name for each, name in node.parameters if each.startswith(f"{role}."))] += 1
    unread = sum((len(names) - count) * math.prod(shapes[names[0]]) for names, count in chosen.items() if names[1:])
    return parameter_count(graph) - unread
