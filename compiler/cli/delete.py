"""`hyperdex delete`: builds go, the checkpoint stays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.cli.answer import answer, json_option
from compiler.cli.options import build_option, examples, model_argument, prefix_option
from compiler.cli.selection import open_workspace, select_build
from compiler.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from compiler.workspace import ModelFolder


@click.command(
    name="delete",
    epilog=examples(
        "hyperdex delete facebook/opt-125m --build u55c-2x", "hyperdex delete facebook/opt-125m --all --yes"
    ),
)
@model_argument
@prefix_option
@build_option
@click.option("--all", "every", is_flag=True, help="All builds of the model.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option("One JSON object: what was deleted.")
def command(model_id: str, prefix: Path | None, build: str | None, every: bool, yes: bool, as_json: bool) -> None:
    """Delete builds of MODEL_ID after asking; its checkpoint stays, so that compiling again needs no download."""
    from compiler.quantity import bytes_text
    from compiler.removal import build_size, remove_builds

    folder = open_workspace(prefix).model(model_id)
    builds = _chosen(folder, build, every)
    sizes = [build_size(folder, name) for name in builds]
    named = ", ".join(f"{size.build} ({bytes_text(size.bytes)})" for size in sizes)
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"deleting {named} of {folder.model_id} needs a yes", "say --yes")
        click.confirm(f"delete {named} of {folder.model_id}?", abort=True, err=True)
    removed = remove_builds(folder, builds)
    total = sum(size.bytes for size in removed)
    if as_json:
        entry = {"model_id": folder.model_id, "builds": [size.build for size in removed], "bytes": total}
        answer(entry)
    else:
        click.echo(f"deleted {named} of {folder.model_id}: {bytes_text(total)} freed", err=True)


def _chosen(folder: ModelFolder, build: str | None, every: bool) -> tuple[str, ...]:
    """The builds that the options name.

    Raises:
        UsageError: both a build and all, or several builds and none named.
        ArtifactError: there is no such build.
    """
    if every and build is not None:
        raise UsageError("--all and --build exclude each other")
    if not every:
        return (select_build(folder, build),)
    if not (builds := folder.builds()):
        raise ArtifactError(f"{folder.model_id} has no build in {folder.prefix}")
    return builds
