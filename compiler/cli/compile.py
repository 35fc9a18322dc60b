"""`hyperdex compile`: phases 0-4 of one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compiler.cli.options import (
    chosen_options,
    dtype_option,
    event_options,
    examples,
    model_argument,
    offline_option,
    pass_options,
    prefix_option,
    revision_option,
    target_option,
    topology_option,
)
from compiler.cli.selection import open_workspace, other_models, place_demo


@click.command(
    name="compile",
    epilog=examples(
        "hyperdex compile facebook/opt-125m --num-device 2",
        "hyperdex compile meta-llama/Llama-3.2-1B --target lpu-1640 --max-length 4096",
        "hyperdex compile my/model --offline --dtype float32   # files placed in PREFIX/my/model/ckpt",
    ),
)
@model_argument
@prefix_option
@click.option(
    "--num-device",
    "num_devices",
    default=1,
    show_default=True,
    metavar="N",
    help="LPU devices that share the model, 1-64.",
    type=int,
)
@target_option
@dtype_option
@click.option(
    "--max-length",
    type=int,
    metavar="L",
    help="Tokens of prompt and answer that the caches hold.  [default: the model's own limit, at most 4096]",
)
@topology_option
@revision_option
@offline_option
@click.option("--force", is_flag=True, help="Repeat phases that are up to date.")
@click.option("--low-memory-usage", is_flag=True, help="Compile with smaller buffers: less host memory, slower.")
@click.option(
    "--allow-overflow",
    is_flag=True,
    help="Clamp weights beyond the build's dtype, and record which, instead of refusing.",
)
@pass_options
@event_options
def command(model_id: str, prefix: Path | None, events: bool, job: Path | None, **given: Any) -> None:
    """Compile MODEL_ID: check, download, convert, map, generate instructions; prints the name of the build.

    MODEL_ID is ORG/NAME on the Hugging Face Hub. For a private model set HF_TOKEN or log in with the hub's own tool.
    For a model of your own put its files into PREFIX/ORG/NAME/ckpt first.
    """
    from compiler.cli.narration import Narration
    from compiler.pipeline import CompileOptions, compile_model
    from compiler.planning import check_options
    from compiler.workspace import Workspace, build_name

    given["fusion"] = not given.pop("no_fusion")
    given["reorder"] = not given.pop("no_reorder")
    folder = open_workspace(prefix).model(model_id)
    build = build_name(given["target"], given["num_devices"], given["dtype"])
    check_options(CompileOptions(**given))
    with other_models(folder), Narration(events, job) as narration:
        narration.begin(folder.model_id, build, chosen_options("prefix", "events", "job"))
        given["offline"] = place_demo(folder) or given["offline"]
        compile_model(Workspace(folder.prefix), folder.model_id, CompileOptions(**given), narration)
        narration.end(build)
    if not events:
        click.echo(build)
