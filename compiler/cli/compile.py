"""`hyperdex compile`: phases 0-4 of one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compiler.cli.options import (
    chosen_options,
    model_argument,
    open_workspace,
    place_demo,
    prefix_option,
    target_option,
)
from compiler.cli.output import OutputFile


@click.command(name="compile")
@model_argument
@prefix_option
@click.option(
    "--num-device", "num_devices", default=1, show_default=True, metavar="N", help="LPU devices, 1-64.", type=int
)
@target_option
@click.option(
    "--dtype", default="float16", show_default=True, metavar="D", help="float16 (the hardware's), bfloat16 or float32."
)
@click.option("--max-length", type=int, metavar="L", help="Tokens the caches hold.  [default: the model's own limit]")
@click.option(
    "--topology",
    default="",
    metavar="W",
    help="How the devices are wired: ring, 2-lines or 4-lines.  [default: the target's own]",
)
@click.option("--revision", metavar="R", help="Branch, tag or commit on the hub.")
@click.option("--offline", is_flag=True, help="Never ask the hub; use what lies in ckpt/.")
@click.option("--force", is_flag=True, help="Repeat phases that are up to date.")
@click.option("--low-memory-usage", is_flag=True, help="Smaller buffers, slower.")
@click.option(
    "--allow-overflow",
    is_flag=True,
    help="Clamp weights beyond the build's dtype, and record which, instead of refusing.",
)
@click.option("--no-fusion", is_flag=True, help="Leave out the fusion pass.")
@click.option("--no-reorder", is_flag=True, help="Leave out the layer reordering pass.")
@click.option("--no-pass", "without", multiple=True, metavar="NAME", help="Leave out one pass, as overlap; repeatable.")
@click.option("--events", is_flag=True, help="Write one JSON object per event to stdout.")
@click.option("--job", type=OutputFile(), metavar="FILE", help="Append the events to FILE.")
def command(model_id: str, prefix: Path | None, events: bool, job: Path | None, **given: Any) -> None:
    """Compile MODEL_ID (facebook/opt-125m, say): check, download, convert, map, generate instructions.

    A private model: set HF_TOKEN or log in with the hub's own tool. A model of
    your own: put its files into PREFIX/ORG/NAME/ckpt first.
    """
    from compiler.cli.narration import Narration
    from compiler.pipeline import CompileOptions, compile_model
    from compiler.workspace import Workspace, build_name

    given["fusion"] = not given.pop("no_fusion")
    given["reorder"] = not given.pop("no_reorder")
    folder = open_workspace(prefix).model(model_id)
    build = build_name(given["target"], given["num_devices"], given["dtype"])
    with Narration(events, job) as narration:
        narration.begin(folder.model_id, build, chosen_options("prefix", "events", "job"))
        given["offline"] = place_demo(folder) or given["offline"]
        compile_model(Workspace(folder.prefix), folder.model_id, CompileOptions(**given), narration)
        narration.end(build)
    if not events:
        click.echo(build)
