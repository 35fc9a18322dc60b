"""What the shell offers for the word under the cursor: models, builds and names that options take.

Each function is called by click with the context as far as it is typed and the begin of the word. None raises: a shell
has nowhere to show a complaint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from compiler.workspace import ModelFolder, Workspace

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def models(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Models of the prefix, and the bundled one."""
    from compiler.demo import DEMO_MODEL_ID

    workspace = _workspace(context)
    found = [folder.model_id for folder in workspace.models()] if workspace is not None else []
    return _matching({*found, DEMO_MODEL_ID}, begun)


def builds(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Builds of the model that was named."""
    folder = _folder(context)
    return _matching(folder.builds(), begun) if folder is not None else []


def targets(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Devices that builds are made for."""
    from compiler.target import TARGET_NAMES

    return _matching(TARGET_NAMES, begun)


def dtypes(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Element types of builds."""
    from compiler.dtypes import BUILD_DTYPES

    return _matching((dtype.name for dtype in BUILD_DTYPES), begun)


def topologies(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Ways to wire devices."""
    from compiler.target.topology import TOPOLOGIES

    return _matching(TOPOLOGIES, begun)


def passes(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Passes that may be left out."""
    from compiler.planning import PASS_NAMES

    return _matching(PASS_NAMES, begun)


def _matching(names: Iterable[str], begun: str) -> list[str]:
    return sorted(name for name in names if name.startswith(begun))


def _workspace(context: click.Context) -> Workspace | None:
    from compiler.cli.selection import open_workspace
    from compiler.errors import HyperDexError

    prefix = context.params.get("prefix")
    try:
        return open_workspace(prefix if isinstance(prefix, Path) else None)
    except HyperDexError:
        return None


def _folder(context: click.Context) -> ModelFolder | None:
    from compiler.errors import HyperDexError

    workspace = _workspace(context)
    model_id = context.params.get("model_id") or next(iter(context.args), "")  # the latter behind an option half typed
    try:
        return workspace.model(str(model_id)) if workspace is not None else None
    except HyperDexError:
        return None
