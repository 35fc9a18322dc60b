"""`hyperdex download`: phases 0 and 1 of one model."""

from __future__ import annotations

from pathlib import Path

import click

from compiler.cli.options import chosen_options, model_argument, open_workspace, place_demo, prefix_option
from compiler.cli.output import OutputFile


@click.command(name="download")
@model_argument
@prefix_option
@click.option("--revision", metavar="R", help="Branch, tag or commit on the hub.")
@click.option("--offline", is_flag=True, help="Never ask the hub: only check what lies in ckpt/.")
@click.option("--events", is_flag=True, help="Write one JSON object per event to stdout.")
@click.option("--job", type=OutputFile(), metavar="FILE", help="Append the events to FILE.")
def command(
    model_id: str, prefix: Path | None, revision: str | None, offline: bool, events: bool, job: Path | None
) -> None:
    """Check that MODEL_ID can be compiled, then download its checkpoint and nothing more."""
    from compiler.cli.narration import Narration
    from compiler.pipeline import CompileOptions, download_model
    from compiler.workspace import Workspace

    folder = open_workspace(prefix).model(model_id)
    with Narration(events, job) as narration:
        narration.begin(folder.model_id, "", chosen_options("prefix", "events", "job"))
        options = CompileOptions(revision=revision, offline=place_demo(folder) or offline)
        download_model(Workspace(folder.prefix), folder.model_id, options, narration)
        narration.end("")
    if not events:
        click.echo(folder.ckpt)
