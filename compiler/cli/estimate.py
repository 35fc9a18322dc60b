"""`hyperdex estimate`: what N devices will give, from config.json alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli.options import open_workspace, prefix_option
from compiler.quantity import bytes_text, counted

if TYPE_CHECKING:
    from compiler.estimate import Estimate

_LIMIT_BYTES = 16 << 20


@click.command(name="estimate")
@click.argument("model", metavar="MODEL_ID|config.json")
@prefix_option
@click.option("--num-device", "counts", default="1,2,4,8", show_default=True, metavar="N,N", help="LPU devices.")
@click.option(
    "--target", "targets", default="u55c", show_default=True, metavar="T,T", help="Targets or .toml files, or `all`."
)
@click.option(
    "--topology", default="", metavar="W", help="Wiring: ring, 2-lines or 4-lines.  [default: the target's own]"
)
@click.option("--dtype", default="float16", show_default=True, metavar="D", help="float16, bfloat16 or float32.")
@click.option("--input-tokens", default=32, show_default=True, metavar="K", help="Tokens of the prompt.")
@click.option(
    "--output-tokens",
    type=int,
    metavar="K",
    help="Tokens to generate.  [default: 2016, or what the model has room for]",
)
@click.option("--max-length", type=int, metavar="L", help="Tokens the caches hold.  [default: what is needed, or 4096]")
@click.option("--no-fusion", is_flag=True, help="Without the fusion pass.")
@click.option("--no-reorder", is_flag=True, help="Without the layer reordering pass.")
@click.option("--offline", is_flag=True, help="Never ask the hub.")
@click.option("--json", "as_json", is_flag=True, help="A list of objects.")
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
    offline: bool,
    as_json: bool,
) -> None:
    """Say for each target and number of devices whether a model fits and how fast it is.

    No weights are needed: a MODEL_ID's config.json is enough, or the path of one.
    All numbers are estimated.
    """
    from compiler.estimate import Estimator
    from compiler.planning import CompileOptions
    from compiler.target import TARGET_NAMES

    config = _config(model, prefix, offline)
    names = [name for each in targets.split(",") for name in (TARGET_NAMES if each == "all" else (each,))]
    estimator = Estimator(config, input_tokens, output_tokens)
    found = [
        estimator.estimate(
            CompileOptions(
                num_devices=count,
                target=target,
                dtype=dtype,
                max_length=max_length,
                fusion=not no_fusion,
                reorder=not no_reorder,
                topology=topology,
            )
        )
        for target in dict.fromkeys(names)
        for count in dict.fromkeys(_numbers(counts))
    ]
    if as_json:
        click.echo(json.dumps([{**asdict(entry), "kind": "estimated"} for entry in found], indent=2))
        return
    click.echo(
        f"estimated for {input_tokens} tokens in and {estimator.output_tokens} out, {dtype}; no weights were read"
    )
    click.echo(
        f"{'target':<10}{'N':>4}{'per device':>12}{'of':>11}  {'fits':<6}{'ms/token':>9}{'tokens/s':>10}{'TTFT ms':>9}"
        f"{'bandwidth':>11}{'J/token':>9}  binds"
    )
    for entry in found:
        click.echo(_row(entry))


def _row(entry: Estimate) -> str:
    held, capacity = bytes_text(entry.bytes_per_device), bytes_text(entry.capacity_bytes)
    head = f"{entry.target:<10}{entry.num_device:>4}{held:>12}{capacity:>11}"
    if entry.ms_per_token is None or entry.ttft_ms is None:
        least = f"; {counted(entry.smallest_fit, 'device')} needed" if entry.smallest_fit else ""
        return f"{head}  no{least}"
    return (
        f"{head}  {'yes':<6}{entry.ms_per_token:>9.3f}{entry.tokens_per_s:>10.1f}{entry.ttft_ms:>9.2f}"
        f"{100 * (entry.utilization or 0):>10.1f}%{entry.joules_per_token:>9.3f}  {entry.binds}"
    )


def _config(model: str, prefix: Path | None, offline: bool) -> Mapping[str, Any]:
    from compiler.checkpoint.untrusted_json import parse_object
    from compiler.errors import CheckpointError
    from compiler.hub import read_config

    path = Path(model)
    if path.suffix == ".json" or path.is_file():
        try:
            with path.open("rb") as file:
                content = file.read(_LIMIT_BYTES + 1)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
        if len(content) > _LIMIT_BYTES:
            raise CheckpointError(f"{path} is larger than {_LIMIT_BYTES} bytes")
        return parse_object(content, path.name)
    folder = open_workspace(prefix).model(model)
    return read_config(folder.model_id, folder, offline=offline)


def _numbers(text: str) -> list[int]:
    from compiler.errors import UsageError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--num-device {text!r} is not a list of numbers such as 1,2,4") from None
