"""What a generation costs: times over positions, utilisation by unit, where the cycles go.

A token's time depends on its position alone, so a generation of thousands of
tokens is timed at a few positions and never executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.debug_info import DebugInfo
from compiler.emulator.timing import Clock, TokenTime
from compiler.isa.encode import Instruction
from compiler.isa.spec import Unit

_SAMPLES = 9
"""Positions at which a token is timed; between them its time is taken as a straight line."""

_PROMPT_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class GenerationTime:
    """The emulated time of one generation.

    Attributes:
        ttft_ms: the prompt, up to its first new token.
        ms_per_token: mean over the new tokens.
        joules_per_token: power of all devices times ms_per_token.
        stream_bytes: HBM bytes that each device moves per token.
        bandwidth: share of the peak bandwidth that these bytes take.
        busy: share of the token for which each unit works.
        stalls: share of the token for which a unit stands still, by unit and reason.
        binds: what takes most of the time.
    """

    ttft_ms: float
    ms_per_token: float
    tokens_per_s: float
    joules_per_token: float
    stream_bytes: int
    bandwidth: float
    busy: dict[str, float]
    stalls: dict[str, float]
    binds: str


def time_generation(clock: Clock, prompt_tokens: int, new_tokens: int) -> GenerationTime:
    """Time a generation from an empty cache."""
    target = clock.rules.target
    mean = mean_token(clock, prompt_tokens, new_tokens)
    seconds = mean.cycles / target.clock_hz
    return GenerationTime(
        ttft_ms=first_token_cycles(clock, prompt_tokens) / target.clock_hz * 1e3,
        ms_per_token=seconds * 1e3,
        tokens_per_s=1 / seconds,
        joules_per_token=target.watts * clock.rules.num_devices * seconds,
        stream_bytes=mean.stream_bytes,
        bandwidth=mean.stream_bytes / (target.hbm_bytes_per_s * seconds),
        busy={unit.value: cycles / mean.cycles for unit, cycles in mean.busy.items()},
        stalls={f"{unit.value} {reason}": cycles / mean.cycles for (unit, reason), cycles in mean.stalls.items()},
        binds=what_binds(mean),
    )


def mean_token(clock: Clock, prompt_tokens: int, new_tokens: int) -> TokenTime:
    """The mean token of a generation: the last of the prompt and all new ones but the last are fed."""
    first = prompt_tokens - 1
    positions = sample_positions(first, first + new_tokens - 1, _SAMPLES)
    return mean_over(positions, [clock.token(position) for position in positions])


def first_token_cycles(clock: Clock, prompt_tokens: int) -> float:
    """Cycles until the first new token is out, the prompt fed token by token."""
    last = prompt_tokens - 1
    cycles = clock.token(last).cycles
    if last:
        fed = sample_positions(0, last - 1, _PROMPT_SAMPLES)
        cycles += last * mean_over(fed, [clock.token(position, prompt=True) for position in fed]).cycles
    return cycles


@dataclass(frozen=True, slots=True)
class Share:
    """Cycles of one op, or of one layer, on the unit that executes it."""

    name: str
    unit: Unit
    cycles: float
    count: int


def breakdown(
    token: TokenTime, instructions: Sequence[Instruction], debug: DebugInfo, by_layer: bool = False
) -> list[Share]:
    """Where the cycles of a token go, by graph op or by layer; the largest first.

    Args:
        token: timed with its slices.
    """
    cycles: dict[tuple[str, Unit], float] = {}
    counts: dict[tuple[str, Unit], int] = {}
    for piece in token.slices:
        node = debug.node_of(piece.pc)
        name = "control" if node is None else f"layer {node.source.layer}" if by_layer else node.op
        key = (name, instructions[piece.pc].spec.unit)
        cycles[key] = cycles.get(key, 0.0) + piece.end - piece.start
        counts[key] = counts.get(key, 0) + 1
    shares = [Share(name, unit, cycles[name, unit], counts[name, unit]) for name, unit in cycles]
    return sorted(shares, key=lambda share: -share.cycles)


def what_binds(token: TokenTime) -> str:
    """The unit that is busy most of the token, or "latency" when none is for half of it."""
    names = {Unit.SMA: "memory", Unit.SXE: "matrix unit", Unit.VXE: "vector unit", Unit.ESL: "link"}
    unit = max(names, key=lambda name: token.busy[name])
    return names[unit] if token.busy[unit] >= token.cycles / 2 else "latency"


def mean_over(positions: Sequence[int], times: Sequence[TokenTime]) -> TokenTime:
    """Mean token between the first and last of ascending positions, by the trapezoid rule."""
    if len(positions) == 1:
        return times[0]
    weights = [0.0] * len(positions)
    for index in range(1, len(positions)):
        half = (positions[index] - positions[index - 1]) / 2
        weights[index - 1] += half
        weights[index] += half
    total = sum(weights)

    def mean(values: Sequence[float]) -> float:
        return sum(weight * value for weight, value in zip(weights, values, strict=True)) / total

    stalls = {key for time in times for key in time.stalls}
    return TokenTime(
        position=positions[len(positions) // 2],
        cycles=mean([time.cycles for time in times]),
        stream_bytes=round(mean([time.stream_bytes for time in times])),
        busy={unit: mean([time.busy[unit] for time in times]) for unit in Unit},
        stalls={key: mean([time.stalls.get(key, 0.0) for time in times]) for key in stalls},
    )


def sample_positions(first: int, last: int, most: int) -> list[int]:
    """At most `most` positions from first to last, both included."""
    count = min(most, last - first + 1)
    return sorted({first + (last - first) * index // max(1, count - 1) for index in range(count)})
