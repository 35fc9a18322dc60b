"""`hyperdex estimate`: what N devices will give, from config.json alone."""

from __future__ import annotations

import gc
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli.answer import answer, json_option
from compiler.cli.options import (
    dtype_option,
    examples,
    offline_option,
    pass_options,
    prefix_option,
    topology_option,
)
from compiler.cli.selection import open_workspace, other_models
from compiler.cli.table import terminal_width
from compiler.errors import CheckpointError, UsageError
from compiler.opening import open_regular
from compiler.quantity import bytes_text, counted, percent_text
from compiler.sanitize import one_line

if TYPE_CHECKING:
    from compiler.estimate import Estimate

_LIMIT_BYTES = 16 << 20
_COLUMNS = {
    "target": "{:<10}",
    "N": "{:>4}",
    "per device": "{:>12}",
    "of": "{:>11}",
    "fits": "  {:<6}",
    "ms/token": "{:>9}",
    "tokens/s": "{:>10}",
    "TTFT ms": "{:>9}",
    "utilisation": "{:>13}",
    "J/token": "{:>9}",
    "binds": "  {}",
}
_DROPPED = ("of", "utilisation", "J/token", "TTFT ms", "tokens/s")
"""What a narrow terminal goes without, the first one first."""


@click.command(
    name="estimate",
    epilog=examples(
        "hyperdex estimate facebook/opt-1.3b --target all",
        "hyperdex estimate ./my-model/config.json --num-device 1,2 --max-length 8192 --json",
    ),
)
@click.argument("model", metavar="MODEL_ID|PATH")
@prefix_option
@click.option(
    "--num-device", "counts", default="1,2,4,8", show_default=True, metavar="N,N", help="Numbers of LPU devices, 1-64."
)
@click.option(
    "--target", "targets", default="u55c", show_default=True, metavar="T,T", help="Targets or .toml files, or `all`."
)
@topology_option
@dtype_option
@click.option(
    "--input-tokens",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="K",
    help="Tokens of the prompt.",
)
@click.option(
    "--output-tokens",
    type=click.IntRange(min=1),
    metavar="K",
    help="Tokens to generate.  [default: 2016, or what the model or --max-length has room for]",
)
@click.option(
    "--max-length",
    type=click.IntRange(min=1),
    metavar="L",
    help="Tokens of prompt and answer that the caches hold.  [default: what is needed, or 4096]",
)
@pass_options
@offline_option
@json_option("A list of objects, one for each target and number of devices.")
def command(
    model: str,
    prefix: Path | None,
    counts: str,
    targets: str,
    topology: str,
    dtype: str,
    input_tokens: int,
    output_tokens: int | None,
    max_length: int | None,
    no_fusion: bool,
    no_reorder: bool,
    without: tuple[str, ...],
    offline: bool,
    as_json: bool,
) -> None:
    """Say for each target and number of devices whether a model fits and how fast it is.

    No weights are needed: a MODEL_ID's config.json is enough, or the PATH of a config.json or of the folder it lies in.
    All numbers are estimated: bytes per device, ms per token, tokens per second, ms to the first token (TTFT), the
    share of the memory bandwidth that parameters take (utilisation), joules per token, and what binds the speed.
    """
    from compiler.estimate import Estimator, check_builds
    from compiler.planning import CompileOptions
    from compiler.target import TARGET_NAMES

    names = [name for each in targets.split(",") for name in (TARGET_NAMES if each == "all" else (each,))]
    numbers = _numbers(counts)
    _check_values(names, numbers, dtype)
    builds = [
        CompileOptions(
            num_devices=count,
            target=target,
            dtype=dtype,
            max_length=max_length,
            fusion=not no_fusion,
            reorder=not no_reorder,
            topology=topology,
            without=without,
        )
        for target in dict.fromkeys(names)
        for count in dict.fromkeys(numbers)
    ]
    check_builds(builds)  # a wrong option is refused before a config is looked for
    estimator = Estimator(_config(model, prefix, offline), input_tokens, output_tokens, max_length)
    with _uncollected():
        found = estimator.estimate_all(builds)
    if as_json:
        answer([{**asdict(entry), "kind": "estimated"} for entry in found])
        return
    text = f"{counted(input_tokens, 'token')} in and {estimator.output_tokens} out"
    click.echo(f"estimated for {text}, {dtype}; no weights were read")
    for line in _table(found, terminal_width()):
        click.echo(line)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of reference cycles: programs have none, and looking for them takes a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _table(found: Sequence[Estimate], width: int | None) -> list[str]:
    """The lines of the table; on a terminal it goes without some columns, and folds reasons, to fit."""
    shown = list(_COLUMNS)
    longest = max(len(one_line(entry.target)) for entry in found)
    columns = {**_COLUMNS, "target": f"{{:<{max(10, longest)}}}"}
    rows = [{head: head for head in shown}, *(_cells(entry) for entry in found)]
    for dropped in ("", *_DROPPED):
        shown = [head for head in shown if head != dropped]
        lines = ["".join(columns[head].format(row[head]) for head in shown).rstrip() for row in rows]
        if width is None or max(map(len, lines)) <= width:
            break
    reasons = ["", *(_reason(entry) for entry in found)]
    return [part for line, reason in zip(lines, reasons, strict=True) for part in _with_reason(line, reason, width)]


def _cells(entry: Estimate) -> dict[str, str]:
    """Values by column, "" for what a build that cannot be has none of."""
    held = bytes_text(entry.bytes_per_device) if entry.bytes_per_device else "-"
    head = (one_line(entry.target), str(entry.num_device), held, bytes_text(entry.capacity_bytes))
    if entry.ms_per_token is None or entry.ttft_ms is None:
        return dict(zip(_COLUMNS, (*head, *[""] * (len(_COLUMNS) - len(head))), strict=True))
    times = (f"{entry.ms_per_token:.3f}", f"{entry.tokens_per_s:.1f}", f"{entry.ttft_ms:.2f}")
    joules = entry.joules_per_token or 0
    energy = f"{joules:.3f}" if joules >= 0.01 else f"{joules:.2g}"
    shares = (percent_text(entry.utilization or 0), energy, entry.binds)
    return dict(zip(_COLUMNS, (*head, "yes", *times, *shares), strict=True))


def _reason(entry: Estimate) -> str:
    """Why a build cannot be, "" for one that can."""
    if entry.ms_per_token is not None and entry.ttft_ms is not None:
        return ""
    return f"{counted(entry.smallest_fit, 'device')} needed" if entry.smallest_fit else entry.reason.partition("; ")[0]


def _with_reason(line: str, reason: str, width: int | None) -> list[str]:
    if not reason:
        return [line]
    head, told = f"{line}  ", f"no; {reason}"
    if width is None or len(head) + len(told) <= width:
        return [head + told]
    folded = textwrap.wrap(told, max(20, width - len(head)), break_on_hyphens=False)
    return [(head if at == 0 else " " * len(head)) + part for at, part in enumerate(folded)]


def _check_values(targets: Sequence[str], counts: Sequence[int], dtype: str) -> None:
    """Judge what needs no config.json, which may be far away.

    Raises:
        UsageError: naming the value.
    """
    from compiler.dtypes import build_dtype
    from compiler.target import check_device_count, load_target

    build_dtype(dtype)
    for target in targets:
        load_target(target)
    for count in counts:
        check_device_count(count)


def _config(model: str, prefix: Path | None, offline: bool) -> Mapping[str, Any]:
    """The config.json that the argument names: a path that is there, or a model's.

    Raises:
        UsageError: a path to nothing, or neither a path nor a model id.
        CheckpointError: it cannot be read, or holds something else.
        HubError: it is not here and the hub does not give it.
    """
    from compiler.checkpoint.untrusted_json import parse_object
    from compiler.workspace import expand_home

    path = expand_home(Path(model))
    if (path / "config.json").is_file():
        path /= "config.json"
    elif path.suffix != ".json" and not path.is_file():
        from compiler.hub import read_config

        _check_model_id(model, path)
        folder = open_workspace(prefix).model(model)
        with other_models(folder):
            return read_config(folder.model_id, folder, offline=offline)
    try:
        with open_regular(path) as file:
            content = file.read(_LIMIT_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}", "name a config.json, its folder, or a model id") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _LIMIT_BYTES:
        raise CheckpointError(f"{path} is larger than {_LIMIT_BYTES} bytes")
    return parse_object(content, path.name)


def _check_model_id(model: str, path: Path) -> None:
    """Refuse what was meant as a path.

    Raises:
        UsageError: it leads to no config.json.
    """
    if path.is_dir() and (path.is_absolute() or model.startswith(".")):
        raise UsageError(f"{path} holds no config.json", "name the folder of a checkpoint")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is not a regular file", "name a config.json, its folder, or a model id")
    if path.is_absolute() or model.startswith("."):
        raise UsageError(f"there is no folder {path}", "name a config.json, its folder, or a model id")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--num-device {text!r} is not a list of numbers such as 1,2,4") from None
