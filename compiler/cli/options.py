"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from compiler.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from compiler.workspace import ModelFolder, Workspace

Command = TypeVar("Command", bound=Callable[..., Any])


def prefix_option(command: Command) -> Command:
    """Add `--prefix`, the folder of all models."""
    return click.option(
        "--prefix",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of all models.  [default: $HYPERDEX_PREFIX, /opt/hyperdex/models or the user's data folder]",
    )(command)


def build_option(command: Command) -> Command:
    """Add `--build`, which may be left out when there is only one."""
    return click.option("--build", metavar="B", help="Build, e.g. u55c-2x.  [default: the only one]")(command)


def model_argument(command: Command) -> Command:
    """Add the argument MODEL_ID."""
    return click.argument("model_id", metavar="MODEL_ID")(command)


def open_workspace(prefix: Path | None) -> Workspace:
    """The workspace at `prefix`, or at the default place."""
    from compiler.workspace import Workspace, default_prefix

    return Workspace(prefix.expanduser() if prefix is not None else default_prefix())


def select_build(folder: ModelFolder, build: str | None) -> str:
    """The build to use.

    Raises:
        UsageError: several builds and none named, or no such build.
        ArtifactError: the model has no build at all.
    """
    builds = folder.builds()
    if build is not None:
        if build not in builds:
            known = ", ".join(builds) or "none"
            raise UsageError(f"{folder.model_id} has no build {build!r}; it has: {known}")
        return build
    if not builds:
        raise ArtifactError(f"{folder.model_id} is not compiled in {folder.path.parent}", "run hyperdex compile first")
    if len(builds) > 1:
        raise UsageError(f"{folder.model_id} has several builds: {', '.join(builds)}", "choose one with --build")
    return builds[0]


def place_demo(folder: ModelFolder) -> bool:
    """Put the bundled model into its folder when that is the one asked for; whether it is."""
    from compiler.demo import DEMO_MODEL_ID, install_demo

    if folder.model_id != DEMO_MODEL_ID:
        return False
    if not (folder.ckpt / "config.json").is_file():
        install_demo(folder.ckpt)
    return True
