"""Options and arguments that several commands share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from compiler.errors import ArtifactError, UsageError
from compiler.sanitize import one_line

if TYPE_CHECKING:
    from compiler.workspace import ModelFolder, Workspace

Command = TypeVar("Command", bound=Callable[..., Any])


class PrefixFolder(click.Path):
    """Type of `--prefix`. Empty, as an unset variable of a shell leaves it, would mean the working folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path as given.

        Raises:
            UsageError: it is empty.
        """
        if not str(value):
            raise UsageError("--prefix is empty", "name a folder or leave the option out")
        return super().convert(value, param, ctx)


def prefix_option(command: Command) -> Command:
    """Add `--prefix`, the folder of all models."""
    return click.option(
        "--prefix",
        type=PrefixFolder(path_type=Path),
        metavar="DIRECTORY",
        help="Folder of all models.  [default: $HYPERDEX_PREFIX, /opt/hyperdex/models or the user's data folder]",
    )(command)


def target_option(command: Command) -> Command:
    """Add `--target`, one of the devices that builds are made for; a wrong one is refused before any work."""

    def known(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
        from compiler.target import TARGET_NAMES

        if name in TARGET_NAMES:
            return name
        advice = "a .toml file of your own is for hyperdex estimate" if name.endswith(".toml") else ""
        raise UsageError(f"target '{one_line(name, 100)}' is not one of {', '.join(TARGET_NAMES)}", advice)

    return click.option(
        "--target",
        default="u55c",
        show_default=True,
        metavar="T",
        callback=known,
        help="u55c, lpu-819, lpu-1640 or lpu-3280.",
    )(command)


def build_option(command: Command) -> Command:
    """Add `--build`, which may be left out when there is only one."""
    return click.option("--build", metavar="B", help="Build, e.g. u55c-2x.  [default: the only one]")(command)


def model_argument(command: Command) -> Command:
    """Add the argument MODEL_ID."""
    return click.argument("model_id", metavar="MODEL_ID")(command)


def chosen_options(*left_out: str) -> str:
    """The options of the running command that are not at their default, as a shell would take them.

    Args:
        left_out: names of parameters that say where, not what.
    """
    context = click.get_current_context()
    words: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if not isinstance(parameter, click.Option) or parameter.name in left_out or value in (None, False, "", ()):
            continue
        if context.get_parameter_source(parameter.name or "") is ParameterSource.DEFAULT:
            continue
        for each in value if isinstance(value, tuple) else (value,):
            words += [parameter.opts[0]] if parameter.is_flag else [parameter.opts[0], str(each)]
    return shlex.join(words)


def open_workspace(prefix: Path | None) -> Workspace:
    """The workspace at `prefix`, or at the default place; nothing need be there.

    Raises:
        UsageError: something else than a folder is there.
    """
    from compiler.workspace import Workspace, default_prefix, expand_home

    chosen = expand_home(prefix) if prefix is not None else default_prefix()
    place = chosen.absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise UsageError(f"prefix {chosen}: {place} is not a folder", "choose another --prefix")
    return Workspace(chosen)


def select_build(folder: ModelFolder, build: str | None) -> str:
    """The build to use.

    Raises:
        UsageError: several builds and none named, or the name of none.
        ArtifactError: the model has no such build, or its folder cannot be read.
    """
    from compiler.workspace import parse_build_name

    if build is not None:
        parse_build_name(build)
    _check_readable(folder)
    builds = folder.builds()
    if not builds:
        raise ArtifactError(f"{folder.model_id} is not compiled in {folder.prefix}", "run hyperdex compile first")
    if build is not None and build not in builds:
        raise ArtifactError(
            f"{folder.model_id} has no build {build}; it has: {', '.join(builds)}", "choose one of them"
        )
    if build is None and len(builds) > 1:
        raise UsageError(f"{folder.model_id} has several builds: {', '.join(builds)}", "choose one with --build")
    return build or builds[0]


def _check_readable(folder: ModelFolder) -> None:
    """Refuse a model whose builds cannot be listed, rather than call it not compiled.

    Raises:
        ArtifactError: naming the folder.
    """
    for path in (folder.path, folder.path / "param", folder.path / "inst"):
        try:
            os.scandir(path).close()
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            raise ArtifactError(f"{path} is not a folder", "move it away and compile again") from None
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read: {error.strerror}", "make it readable") from None


def place_demo(folder: ModelFolder) -> bool:
    """Put the bundled model into its folder when that is the one asked for; whether it is.

    Raises:
        BusyError: somebody else compiles it.
        UsageError, CapacityError: the folder cannot be written.
    """
    from compiler.demo import DEMO_MODEL_ID, install_demo
    from compiler.workspace import lock

    if folder.model_id != DEMO_MODEL_ID:
        return False
    if not (folder.ckpt / "config.json").is_file():
        with lock(folder):
            install_demo(folder.ckpt)
    return True
