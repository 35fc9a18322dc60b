"""`hyperdex diff`: what two builds of a model differ in, and what each pass did to one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.cli import candidates
from compiler.cli.answer import answer, json_option
from compiler.cli.comparison import BuildFacts, Comparison, RegionMove, compare, facts_of
from compiler.cli.options import examples, model_argument, prefix_option
from compiler.cli.passes import Effect, pass_effects
from compiler.cli.rebuild import options_of, stored_config
from compiler.cli.selection import open_workspace, select_build
from compiler.errors import UsageError
from compiler.quantity import bytes_text, change_text, percent_text
from compiler.sanitize import printable

if TYPE_CHECKING:
    from compiler.artifacts.manifest import Manifest
    from compiler.workspace import ModelFolder

_SHOWN = 12
_WAITS = 4
_LEAST_MS = 0.00005
"""Half of the last digit shown."""


@click.command(
    name="diff",
    epilog=examples(
        "hyperdex diff facebook/opt-125m u55c-1x u55c-2x", "hyperdex diff facebook/opt-125m u55c-2x --tokens 256"
    ),
)
@model_argument
@click.argument("build_a", metavar="BUILD_A", shell_complete=candidates.builds)
@click.argument("build_b", metavar="[BUILD_B]", required=False, shell_complete=candidates.builds)
@prefix_option
@click.option(
    "--tokens",
    type=click.IntRange(min=2),
    metavar="K",
    help="Length of the text that is timed.  [default: what the builds hold]",
)
@json_option("One JSON object with every difference.")
def command(
    model_id: str, build_a: str, build_b: str | None, prefix: Path | None, tokens: int | None, as_json: bool
) -> None:
    """Compare two builds of MODEL_ID: options, passes, instructions, streams, regions, bytes, time and waits.

    With one build: what each of its passes does, from the program without any on. Times are emulated, in ms per token
    of a text of --tokens.
    """
    from compiler.artifacts.reader import open_build

    folder = open_workspace(prefix).model(model_id)
    names = [select_build(folder, build) for build in (build_a, build_b) if build is not None]
    builds = [open_build(folder.param(name), folder.inst(name)) for name in names]
    limit = min(build.manifest.max_length for build in builds)
    if tokens is not None and tokens > limit:
        raise UsageError(f"--tokens {tokens} is more than the builds hold, which is {limit}")
    timed = tokens or limit
    if len(builds) == 1:
        _show_passes(folder, names[0], builds[0].manifest, timed, as_json)
        return
    first, second = (facts_of(build, timed) for build in builds)
    found = compare(first, second)
    if as_json:
        head = {"model_id": folder.model_id, "a": names[0], "b": names[1], "timed_tokens": timed}
        answer({**head, **asdict(found)})
        return
    click.echo(f"{folder.model_id}: {names[0]} -> {names[1]}")
    parts = [_options(found), _instructions(found), _regions(found), _costs(first, second, timed)]
    for line in [*(line for part in parts for line in part), *_waits(first.waits, second.waits)]:
        click.echo(printable(line))


def _show_passes(folder: ModelFolder, build: str, manifest: Manifest, timed: int, as_json: bool) -> None:
    """Each pass of a build with what it changed, printed as it is known."""
    options, config = options_of(manifest), stored_config(folder, manifest)
    effects = pass_effects(config, options, timed)
    if as_json:
        head = {"model_id": folder.model_id, "build": build, "timed_tokens": timed}
        answer({**head, "passes": [asdict(effect) for effect in effects]})
        return
    click.echo(f"{folder.model_id}: {build}, pass after pass; time emulated for {timed} tokens")
    click.echo(printable(_PASS_ROW.format("pass", "instructions", "streams", "transfers", "ms/token", "", "in sync")))
    first = before = next(effects)
    click.echo(printable(_pass_row(first, first)))
    for effect in effects:
        click.echo(printable(_pass_row(effect, before)))
        for line in _waits(before.waits, effect.waits)[1:]:
            click.echo(printable(f"  {line}"))
        before = effect
    click.echo(printable(f"all: {first.ms_per_token / before.ms_per_token:.3f} times as fast as without passes"))


_PASS_ROW = "  {:<20} {:>12} {:>8} {:>9} {:>10} {:>7} {:>8}"


def _pass_row(effect: Effect, before: Effect) -> str:
    same = effect.ms_per_token == before.ms_per_token
    change = "" if same else change_text(before.ms_per_token, effect.ms_per_token)
    counts = (f"{count:,}" for count in (effect.instructions, effect.streams, effect.transfers))
    share = effect.synchronisation_ms / effect.ms_per_token
    return _PASS_ROW.format(effect.name, *counts, f"{effect.ms_per_token:.4f}", change, percent_text(share))


def _waits(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Where units stand still for another time than before, the largest changes first.

    That the ICP waits and that a unit has nothing left to do says nothing about a program.
    """
    names = [name for name in {**before, **after} if not name.startswith("ICP ") and not name.endswith(" end")]
    changes = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in names}
    shown = sorted((name for name in changes if abs(changes[name]) >= _LEAST_MS), key=lambda name: -abs(changes[name]))
    rows = [
        f"  {name:<23} {before.get(name, 0.0):.4f} -> {after.get(name, 0.0):.4f} ({changes[name]:+.4f})"
        for name in shown[:_WAITS]
    ]
    return ["waits of units, in ms per token", *(rows or ["  the same"])]


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
    lines.append("streams")
    lines += [f"  {name:<17} {before:>5,} -> {after:>10,}" for name, (before, after) in found.streams.items()]
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
    change = change_text(first.ms_per_token, second.ms_per_token)
    return [
        *lines,
        f"time, emulated for {timed} tokens",
        f"  {'ms/token':<23} {first.ms_per_token:.4f} -> {second.ms_per_token:.4f} ({change})",
    ]
