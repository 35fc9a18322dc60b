"""What the passes are worth: emulated time of a layer with and without them, and what synchronisation is left exposed.

Shapes of OPT on 32 tokens in and 2016 out, from the config alone. A layer is
the difference of programs of four and of two layers, halved. Exposed
synchronisation is what a layer would save if every device had a vector as soon
as all slices of it were made: bytes on the wire, hops, and the hand-over to
the link and from it, as far as no work hides them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from bench.measure import Row
from bench.shapes import OPT_1_3B, OPT_6_7B, OPT_30B, OptShape
from compiler.cli.passes import without_link
from compiler.target.timing import Rules

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
    optimised, no_bytes, no_hops, shared = _layer_cycles(shape, target, num_devices, True)
    plain = _layer_cycles(shape, target, num_devices, False)[0]
    ratio = plain / optimised
    rows = [Row(f"{where}: a layer with all passes against none", f"{ratio:.2f} times as fast", "1", ratio > 1)]
    if num_devices == SYNCHRONISED_DEVICES:
        spans = (optimised, shared), (optimised, no_bytes), (no_bytes, no_hops), (no_hops, shared)
        share, moved, hops, handed = ((more - less) / optimised for more, less in spans)
        value = f"{share:.1%} ({moved:.1%} bytes, {hops:.1%} hops, {handed:.1%} hand-over to the link)"
        limit = f"{SYNCHRONISATION_LIMIT:.0%}"
        rows.append(Row(f"{where}: exposed synchronisation", value, limit, share < SYNCHRONISATION_LIMIT))
    return rows


def _layer_cycles(shape: OptShape, target: str, num_devices: int, passes: bool) -> tuple[float, ...]:
    """Mean cycles of one layer: as it is, links of any bandwidth, no hops either, nothing to synchronise."""
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
        no_bytes = _with_link(plan.rules, port_bytes_per_s=math.inf)
        kinds = plan.rules, no_bytes, _with_link(no_bytes, hop_cycles=0), without_link(plan.rules)
        clocks = [Clock(program, rules) for rules in kinds]
        found.append(tuple(mean_token(clock.token, INPUT_TOKENS, OUTPUT_TOKENS)[0].cycles for clock in clocks))
    return tuple((more - few) / 2 for few, more in zip(*found, strict=True))


def _with_link(rules: Rules, **changed: Any) -> Rules:
    return replace(rules, target=replace(rules.target, link=replace(rules.target.link, **changed)))
