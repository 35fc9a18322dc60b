"""`hyperdex download`: phases 0 and 1 of one model."""

from __future__ import annotations

from pathlib import Path

import click

from compiler.cli.options import (
    chosen_options,
    event_options,
    examples,
    model_argument,
    offline_option,
    prefix_option,
    revision_option,
)
from compiler.cli.selection import open_workspace, other_models, place_demo


@click.command(
    name="download",
    epilog=examples("hyperdex download facebook/opt-125m", "hyperdex download facebook/opt-125m --revision main"),
)
@model_argument
@prefix_option
@revision_option
@offline_option
@event_options
def command(
    model_id: str, prefix: Path | None, revision: str | None, offline: bool, events: bool, job: Path | None
) -> None:
    """Check that MODEL_ID can be compiled, then download its checkpoint and nothing more; prints the folder."""
    from compiler.cli.narration import Narration
    from compiler.pipeline import CompileOptions, download_model
    from compiler.workspace import Workspace

    folder = open_workspace(prefix).model(model_id)
    with other_models(folder), Narration(events, job) as narration:
        narration.begin(folder.model_id, "", chosen_options("prefix", "events", "job"))
        options = CompileOptions(revision=revision, offline=place_demo(folder) or offline)
        download_model(Workspace(folder.prefix), folder.model_id, options, narration)
        narration.end("")
    if not events:
        click.echo(folder.ckpt)
