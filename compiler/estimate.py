"""What N devices will give, from config.json alone: does it fit, and how fast.

The clock times the real program of a model with few layers; layers are alike,
so the whole model follows by adding the rest. Nothing is downloaded, no weight
is read, no number is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from compiler.checkpoint.config import CheckpointConfig
from compiler.dtypes import build_dtype
from compiler.emulator.report import first_token_cycles, mean_token, what_binds
from compiler.emulator.timing import Clock, TokenTime
from compiler.errors import CapacityError, UsageError
from compiler.graph.architectures import build_graph
from compiler.graph.ir import Graph
from compiler.isa.spec import Unit
from compiler.planning import CompileOptions, make_plan, make_program, plan_memory

_FEW_LAYERS = (2, 4)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One target with N devices.

    Attributes:
        fits: whether the model does; without it the times are None.
        bytes_per_device: weights with padding, caches at max_length, host buffer.
        weight_bytes: the parameters' share of them, padding and copies included.
        kv_bytes: the caches' share.
        padding_bytes: what the parameters take beyond an even share: padding, and what every device has for itself.
        smallest_fit: fewest devices that hold it, 0 for none.
        ms_per_token: mean over the generated tokens.
        ttft_ms: time to first token, the prompt fed token by token.
        utilization: nominal parameter bytes / (devices x bandwidth x ms_per_token).
        joules_per_token: power of all devices times ms_per_token.
        binds: what takes most of the time: "memory", "matrix unit", "vector unit", "link" or "latency".
    """

    target: str
    num_device: int
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
    binds: str = ""


def estimate(
    config: Mapping[str, Any], options: CompileOptions, input_tokens: int = 32, output_tokens: int = 2016
) -> Estimate:
    """Estimate one build.

    Raises:
        UnsupportedModelError, UsageError: as `planning.make_plan`, or a text longer than the model allows.
    """
    options = replace(options, max_length=_max_length(config, options, input_tokens, output_tokens))
    memory = plan_memory(config, options)
    count = parameter_count(build_graph(CheckpointConfig(config)))
    found = Estimate(
        target=options.target,
        num_device=options.num_devices,
        dtype=options.dtype,
        max_length=options.max_length or 0,
        fits=memory.fits,
        bytes_per_device=memory.bytes_per_device,
        capacity_bytes=memory.capacity_bytes,
        smallest_fit=memory.smallest_fit,
        weight_bytes=memory.weight_bytes,
        kv_bytes=memory.kv_bytes,
        padding_bytes=memory.weight_bytes - count * build_dtype(options.dtype).itemsize // options.num_devices,
    )
    if not memory.fits:
        return found
    plan = make_plan(_with_layers(config, _FEW_LAYERS[0]), options)
    options = replace(options, chunks=plan.mapping.partition.chunks)  # chosen once, for layers are alike
    try:
        decode, prompt = _times(config, options, input_tokens, output_tokens)
    except CapacityError:  # the model fits the HBM, one of its vectors not the LMU
        return replace(found, fits=False)
    target = plan.target
    seconds = decode.cycles / target.clock_hz
    nominal = nominal_parameters(build_graph(CheckpointConfig(config))) * plan.dtype.itemsize
    return replace(
        found,
        ms_per_token=seconds * 1e3,
        tokens_per_s=1 / seconds,
        ttft_ms=prompt / target.clock_hz * 1e3,
        utilization=nominal / (options.num_devices * target.hbm_bytes_per_s * seconds),
        joules_per_token=target.watts * options.num_devices * seconds,
        binds=what_binds(decode),
    )


def parameter_count(graph: Graph) -> int:
    """Elements of all tensors of a checkpoint, a tied head counted once."""
    shapes = {name: shape for parameter in graph.parameters for name, shape in parameter.tensors}
    return sum(math.prod(shape) for shape in shapes.values())


def nominal_parameters(graph: Graph) -> int:
    """The number of parameters by which such a model is known: two significant digits of the count."""
    return int(float(f"{parameter_count(graph):.1e}"))


def _times(
    config: Mapping[str, Any], options: CompileOptions, input_tokens: int, output_tokens: int
) -> tuple[TokenTime, float]:
    """Mean decode token, and cycles until the first token is out."""
    layers = int(config["num_hidden_layers"])
    if layers <= _FEW_LAYERS[1]:
        return _few_layers(config, options, input_tokens, output_tokens)
    (few, few_prompt), (more, more_prompt) = (
        _few_layers(_with_layers(config, count), options, input_tokens, output_tokens) for count in _FEW_LAYERS
    )
    steps = (layers - _FEW_LAYERS[0]) / (_FEW_LAYERS[1] - _FEW_LAYERS[0])

    def whole(low: float, high: float) -> float:
        return low + steps * (high - low)

    decode = TokenTime(
        position=few.position,
        cycles=whole(few.cycles, more.cycles),
        stream_bytes=round(whole(few.stream_bytes, more.stream_bytes)),
        busy={unit: whole(few.busy[unit], more.busy[unit]) for unit in Unit},
        stalls={key: whole(few.stalls.get(key, 0.0), value) for key, value in more.stalls.items()},
    )
    return decode, whole(few_prompt, more_prompt)


def _few_layers(
    config: Mapping[str, Any], options: CompileOptions, input_tokens: int, output_tokens: int
) -> tuple[TokenTime, float]:
    plan = make_plan(config, options)
    clock = Clock(make_program(plan, options).instructions, plan.rules)
    return mean_token(clock, input_tokens, output_tokens), first_token_cycles(clock, input_tokens)


def _with_layers(config: Mapping[str, Any], count: int) -> dict[str, Any]:
    return {**config, "num_hidden_layers": min(count, int(config["num_hidden_layers"]))}


def _max_length(
    config: Mapping[str, Any], options: CompileOptions, input_tokens: int, output_tokens: int
) -> int | None:
    if input_tokens < 1 or output_tokens < 1:
        raise UsageError(f"{input_tokens} input and {output_tokens} output tokens: each must be at least 1")
    positions = build_graph(CheckpointConfig(config)).max_positions
    needed = input_tokens + output_tokens
    limit = options.max_length or positions
    if needed > limit:
        raise UsageError(
            f"{input_tokens} input and {output_tokens} output tokens exceed "
            f"{'max_length' if options.max_length else 'max_position_embeddings'} {limit}",
            "ask for fewer with --input-tokens and --output-tokens",
        )
    return options.max_length or max(needed, min(positions, 4096))
