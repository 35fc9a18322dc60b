"""What a generation costs: times over positions, utilisation by unit, where the cycles go.

A token's time depends on its position alone, so a generation of thousands of
tokens is timed at a few positions and never executed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from compiler.debug_info import DebugInfo
from compiler.emulator.timing import Clock, TokenTime
from compiler.isa.encode import Instruction
from compiler.isa.spec import Unit

_SAMPLES = 9
"""Positions at which a token is timed where its time is no straight line."""

_CHECKED = (0, 3, 5, 8)
"""Those of them that tell whether it is one."""

_STRAIGHT = 5e-4


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
        ms_at: position of a token and the milliseconds it takes, ascending.
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
    ms_at: tuple[tuple[int, float], ...]


def time_generation(clock: Clock, prompt_tokens: int, new_tokens: int) -> GenerationTime:
    """Time a generation from an empty cache."""
    target = clock.rules.target
    mean, *tokens = mean_token(clock.token, prompt_tokens, new_tokens)
    seconds = mean.cycles / target.clock_hz
    return GenerationTime(
        ttft_ms=first_token_cycles(clock.token, partial(clock.token, prompt=True), prompt_tokens)
        / target.clock_hz
        * 1e3,
        ms_per_token=seconds * 1e3,
        tokens_per_s=1 / seconds,
        joules_per_token=target.watts * clock.rules.num_devices * seconds,
        stream_bytes=mean.stream_bytes,
        bandwidth=mean.stream_bytes / (target.hbm_bytes_per_s * seconds),
        busy={unit.value: cycles / mean.cycles for unit, cycles in mean.busy.items()},
        stalls={f"{unit.value} {reason}": cycles / mean.cycles for (unit, reason), cycles in mean.stalls.items()},
        binds=what_binds(mean),
        ms_at=tuple((token.position, token.cycles / target.clock_hz * 1e3) for token in tokens),
    )


def mean_token(time_at: Callable[[int], TokenTime], prompt_tokens: int, new_tokens: int) -> tuple[TokenTime, ...]:
    """The mean token of a generation, and behind it the tokens it is the mean of.

    The last token of the prompt is fed and all new ones but the last. A token's time is a straight line over its
    position but for few corners: two tokens between the first and the last tell whether it has any.
    """
    times = _sampled(time_at, prompt_tokens - 1, prompt_tokens + new_tokens - 2)
    return mean_over(times), *times


def _sampled(time_at: Callable[[int], TokenTime], first: int, last: int) -> list[TokenTime]:
    """Tokens from the first position to the last, between which time is as good as straight."""
    places = sample_positions(first, last, _SAMPLES)
    chosen = [places[index] for index in _CHECKED] if len(places) == _SAMPLES else places
    times = [time_at(position) for position in chosen]
    if len(chosen) == len(places) or _straight(times):
        return times
    known = dict(zip(chosen, times, strict=True))
    return [known.get(position) or time_at(position) for position in places]


def _straight(times: Sequence[TokenTime]) -> bool:
    """Whether the tokens between the first and the last take what a straight line between these says."""
    first, last = times[0], times[-1]
    slope = (last.cycles - first.cycles) / (last.position - first.position)
    return all(
        abs(time.cycles - first.cycles - slope * (time.position - first.position)) <= _STRAIGHT * time.cycles
        for time in times[1:-1]
    )


def first_token_cycles(
    decode_at: Callable[[int], TokenTime], prompt_at: Callable[[int], TokenTime], prompt_tokens: int
) -> float:
    """Cycles until the first new token is out, the prompt fed token by token."""
    last = prompt_tokens - 1
    cycles = decode_at(last).cycles
    if last:
        cycles += last * mean_over(_sampled(prompt_at, 0, last - 1)).cycles
    return cycles


@dataclass(frozen=True, slots=True)
class Share:
    """One op, or one layer, on the unit that executes it.

    Attributes:
        cycles: from the start to the end of its instructions.
        waited: cycles that the unit stood still before or during them.
    """

    name: str
    unit: Unit
    cycles: float
    waited: float
    count: int


def breakdown(
    token: TokenTime, instructions: Sequence[Instruction], debug: DebugInfo, by_layer: bool = False
) -> list[Share]:
    """Where the cycles of a token go, by graph op or by layer; the largest first.

    Args:
        token: timed with its slices.
    """
    shares: dict[tuple[str, Unit], Share] = {}
    for piece in token.slices:
        node = debug.node_of(piece.pc)
        name = "control" if node is None else f"layer {node.source.layer}" if by_layer else node.op
        name = "outside" if name == "layer -1" else name
        unit = instructions[piece.pc].spec.unit
        old = shares.get((name, unit), Share(name, unit, 0, 0, 0))
        cycles = old.cycles + piece.end - piece.start
        shares[name, unit] = Share(name, unit, cycles, old.waited + piece.waited, old.count + 1)
    return sorted(shares.values(), key=lambda share: -share.cycles)


def what_binds(token: TokenTime) -> str:
    """The unit that is busy most of the token, or "latency" when none is for half of it."""
    names = {Unit.SMA: "memory", Unit.SXE: "matrix unit", Unit.VXE: "vector unit", Unit.ESL: "link"}
    unit = max(names, key=lambda name: token.busy[name])
    return names[unit] if token.busy[unit] >= token.cycles / 2 else "latency"


def mean_over(times: Sequence[TokenTime]) -> TokenTime:
    """Mean token between the first and last of ascending positions, by the trapezoid rule."""
    positions = [time.position for time in times]
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
