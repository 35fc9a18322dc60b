"""Which workspace, model and build the arguments mean, and what to say when there is no such thing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.cli.failure import did_you_mean
from compiler.errors import ArtifactError, HubError, UsageError

if TYPE_CHECKING:
    from compiler.workspace import ModelFolder, Workspace


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
        raise ArtifactError(f"{folder.model_id} is not compiled in {folder.prefix}", _how_to_get(folder))
    if build is not None and build not in builds:
        raise ArtifactError(
            f"{folder.model_id} has no build {build}; it has: {', '.join(builds)}", "choose one of them"
        )
    if build is None and len(builds) > 1:
        raise UsageError(f"{folder.model_id} has several builds: {', '.join(builds)}", "choose one with --build")
    return build or builds[0]


@contextmanager
def other_models(folder: ModelFolder) -> Iterator[None]:
    """Where the hub does not give the model, say which one was meant: the bundled one, or one that lies in the prefix.

    Raises:
        HubError: that of the block, with the model that was meant.
    """
    from compiler.demo import DEMO_MODEL_ID
    from compiler.workspace import Workspace

    try:
        yield
    except HubError as error:
        known = {DEMO_MODEL_ID, *(other.model_id for other in Workspace(folder.prefix).models())}
        meant = did_you_mean(folder.model_id, sorted(known - {folder.model_id}))
        if not meant:
            raise
        raise HubError(str(error), meant) from None


def _how_to_get(folder: ModelFolder) -> str:
    """The model that was meant instead, or how to compile this one."""
    from compiler.workspace import Workspace

    compile_first = f"run hyperdex compile {folder.model_id} first"
    if folder.path.exists():
        return compile_first
    meant = did_you_mean(folder.model_id, [other.model_id for other in Workspace(folder.prefix).models()])
    return f"{meant} otherwise {compile_first}" if meant else compile_first


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
