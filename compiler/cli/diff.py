"""`hyperdex diff`: what two builds of a model differ in."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from compiler.cli.comparison import BuildFacts, Comparison, RegionMove, compare, facts_of
from compiler.cli.options import model_argument, open_workspace, prefix_option, select_build
from compiler.errors import UsageError
from compiler.quantity import bytes_text
from compiler.sanitize import printable

_SHOWN = 12


@click.command(name="diff")
@model_argument
@click.argument("build_a", metavar="BUILD_A")
@click.argument("build_b", metavar="BUILD_B")
@prefix_option
@click.option("--tokens", type=click.IntRange(min=2), metavar="K", help="Length of the text that is timed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with every difference.")
def command(model_id: str, build_a: str, build_b: str, prefix: Path | None, tokens: int | None, as_json: bool) -> None:
    """Compare two builds of MODEL_ID: options, passes, instructions, regions, bytes, and time by the clock.

    Times are estimated, for a text of K tokens from the first on.  [default: as many as both builds hold]
    """
    from compiler.artifacts.reader import open_build

    folder = open_workspace(prefix).model(model_id)
    names = [select_build(folder, build) for build in (build_a, build_b)]
    builds = [open_build(folder.param(name), folder.inst(name)) for name in names]
    limit = min(build.manifest.max_length for build in builds)
    if tokens is not None and tokens > limit:
        raise UsageError(f"--tokens {tokens} is more than both builds hold, which is {limit}")
    timed = tokens or limit
    first, second = (facts_of(build, timed) for build in builds)
    found = compare(first, second)
    if as_json:
        head = {"model_id": folder.model_id, "a": names[0], "b": names[1], "timed_tokens": timed}
        click.echo(json.dumps({**head, **asdict(found)}))
        return
    click.echo(f"{folder.model_id}: {names[0]} -> {names[1]}")
    for line in [*_options(found), *_instructions(found), *_regions(found), *_costs(first, second, timed)]:
        click.echo(printable(line))


def _options(found: Comparison) -> list[str]:
    rows = [f"  {name:<23} {before or '-'} -> {after or '-'}" for name, (before, after) in found.options.items()]
    return ["options", *(rows or ["  the same"])]


def _instructions(found: Comparison) -> list[str]:
    lines = ["instructions"]
    for counts in (found.instructions, found.by_unit, found.by_opcode):
        for name, (before, after) in counts.items():
            change = f"{after - before:+,}" if after != before else "the same"
            if counts is not found.by_opcode or after != before:
                lines.append(f"  {name:<12} {before:>10,} -> {after:>10,}  {change}")
    return lines


def _regions(found: Comparison) -> list[str]:
    counts = f"{len(found.added)} added, {len(found.removed)} removed, {len(found.moved)} moved or resized"
    lines = [f"regions: {counts}, {found.unmoved} where they were"]
    for word, names in (("added", found.added), ("removed", found.removed)):
        lines += [f"  {word:<8} {name}" for name in names[:_SHOWN]] + _more(len(names))
    return [*lines, *(_moved(move) for move in found.moved[:_SHOWN]), *_more(len(found.moved))]


def _moved(move: RegionMove) -> str:
    (begin, end), (to, until) = move.before, move.after
    return f"  moved    {move.name}: {begin:#x}..{end:#x} -> {to:#x}..{until:#x}"


def _more(count: int) -> list[str]:
    return [f"           and {count - _SHOWN} more: --json lists them"] if count > _SHOWN else []


def _costs(first: BuildFacts, second: BuildFacts, timed: int) -> list[str]:
    lines = ["bytes"]
    for name, before in first.bytes.items():
        lines.append(f"  {name:<23} {bytes_text(before)} -> {bytes_text(second.bytes[name])}")
    change = second.ms_per_token / first.ms_per_token - 1
    return [
        *lines,
        f"time, estimated for {timed} tokens",
        f"  {'ms/token':<23} {first.ms_per_token:.4f} -> {second.ms_per_token:.4f} ({change:+.1%})",
    ]
