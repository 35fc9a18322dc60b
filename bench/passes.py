"""What the passes are worth: emulated time of a layer with and without them, and what synchronisation is left exposed.

Shapes of OPT on 32 tokens in and 2016 out, from the config alone. A layer is
the difference of programs of four and of two layers, halved. Exposed
synchronisation is what a layer would save if links took no time.
"""

from __future__ import annotations

from typing import Any

from bench.measure import Row
from bench.shapes import OPT_1_3B, OPT_6_7B, OPT_30B, OptShape
from compiler.cli.passes import without_link

SHAPES = (OPT_1_3B, OPT_6_7B, OPT_30B)
BUILDS = (("lpu-3280", (1, 2)), ("u55c", (1, 2, 8)))
INPUT_TOKENS, OUTPUT_TOKENS = 32, 2016
SYNCHRONISED_DEVICES = 2
SYNCHRONISATION_LIMIT = 0.05


def measure() -> list[Row]:
    """A row per shape, target and number of devices: how many times as fast; with two devices the exposed share."""
    rows: list[Row] = []
    for shape in SHAPES:
        for target, counts in BUILDS:
            for num_devices in counts:
                rows += _rows(shape, target, num_devices)
    return rows


def _rows(shape: OptShape, target: str, num_devices: int) -> list[Row]:
    where = f"{shape.name} shape, {num_devices} x {target}"
    optimised, hops, unlinked = _layer_cycles(shape, target, num_devices, True)
    plain, _, _ = _layer_cycles(shape, target, num_devices, False)
    ratio = plain / optimised
    rows = [Row(f"{where}: a layer with all passes against none", f"{ratio:.2f} times as fast", "1", ratio > 1)]
    if num_devices == SYNCHRONISED_DEVICES:
        share, latency = ((cycles - unlinked) / optimised for cycles in (optimised, hops))
        value = f"{share:.1%} ({latency:.1%} is the latency of hops)"
        limit = f"{SYNCHRONISATION_LIMIT:.0%}"
        rows.append(Row(f"{where}: exposed synchronisation", value, limit, share < SYNCHRONISATION_LIMIT))
    return rows


def _layer_cycles(shape: OptShape, target: str, num_devices: int, passes: bool) -> tuple[float, float, float]:
    """Mean cycles of one layer: as it is, with links of any bandwidth, with links that take no time."""
    from compiler.emulator.report import mean_token
    from compiler.emulator.timing import Clock
    from compiler.planning import CompileOptions, make_plan, make_program

    length = INPUT_TOKENS + OUTPUT_TOKENS
    options = CompileOptions(num_devices, target, max_length=length, fusion=passes, reorder=passes)
    found: list[tuple[float, ...]] = []
    for layers in (2, 4):
        config: dict[str, Any] = {**shape.config(), "num_hidden_layers": layers}
        plan = make_plan(config, options)
        program = make_program(plan, options).instructions
        hop_cycles = plan.target.link.hop_cycles
        kinds = plan.rules, without_link(plan.rules, hop_cycles), without_link(plan.rules)
        clocks = [Clock(program, rules) for rules in kinds]
        found.append(tuple(mean_token(clock.token, INPUT_TOKENS, OUTPUT_TOKENS)[0].cycles for clock in clocks))
    whole, hops, unlinked = ((more - few) / 2 for few, more in zip(*found, strict=True))
    return whole, hops, unlinked
