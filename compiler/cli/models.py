"""`hyperdex models`: what is in the prefix, and whether it is up to date."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.cli.answer import answer, json_option
from compiler.cli.options import examples, prefix_option
from compiler.cli.selection import open_workspace
from compiler.cli.table import table_lines, terminal_width
from compiler.sanitize import one_line

if TYPE_CHECKING:
    from compiler.staleness import CheckpointState
    from compiler.workspace import ModelFolder


@dataclass(frozen=True, slots=True)
class BuildState:
    """One build of a model.

    Attributes:
        name: its folder.
        phases: of 3 and 4, those whose result is whole.
        bytes: size of parameters and program.
        stale: why it must be compiled again; "" when it is up to date.
    """

    name: str
    phases: tuple[int, ...]
    bytes: int
    stale: str


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model: `phases` counts 1 and 2, `stale` speaks of the converted checkpoint."""

    model_id: str
    phases: tuple[int, ...]
    bytes: int
    stale: str
    builds: tuple[BuildState, ...]


@click.command(
    name="models",
    epilog=examples(
        "hyperdex models", "hyperdex models --supported", "hyperdex models --json | jq -r '.models[].model_id'"
    ),
)
@prefix_option
@click.option("--supported", is_flag=True, help="List the architectures this compiler handles instead.")
@json_option("One JSON object.")
def command(prefix: Path | None, supported: bool, as_json: bool) -> None:
    """List the models of the prefix: phases done, builds, sizes, stale or not."""
    if supported:
        _list_architectures(as_json)
        return
    workspace = open_workspace(prefix)
    states = [inspect_model(folder) for folder in workspace.models()]
    if as_json:
        answer({"prefix": str(workspace.prefix), "models": [asdict(state) for state in states]})
        return
    if not states:
        click.echo(f"no models in {workspace.prefix}; hyperdex compile MODEL_ID brings one", err=True)
    for line in _table(states):
        click.echo(line)


def inspect_model(folder: ModelFolder) -> ModelState:
    """Look at the files of one model; no weights are read. What cannot be read is said in `stale`."""
    from compiler.staleness import checkpoint_state
    from compiler.workspace import folder_bytes

    try:
        has_checkpoint = (folder.ckpt / "config.json").is_file()
        checkpoint = checkpoint_state(folder)
        phases = ((1,) if has_checkpoint else ()) + ((2,) if checkpoint.converted else ())
        builds = tuple(_inspect_build(folder, build, checkpoint) for build in folder.builds())
    except OSError as error:
        where = one_line(str(error.filename or folder.path), 200)
        return ModelState(folder.model_id, (), 0, f"{where} cannot be read: {error.strerror}", ())
    return ModelState(folder.model_id, phases, folder_bytes(folder.ckpt), checkpoint.stale, builds)


def _inspect_build(folder: ModelFolder, build: str, checkpoint: CheckpointState) -> BuildState:
    from compiler.staleness import read_manifest, stale_build
    from compiler.workspace import folder_bytes

    folders = ((3, "param", folder.param(build)), (4, "inst", folder.inst(build)))
    phases = tuple(phase for phase, kind, path in folders if read_manifest(path, kind)[0] is not None)
    size = sum(folder_bytes(path) for _, _, path in folders)
    return BuildState(build, phases, size, stale_build(folder, build, checkpoint))


def _table(states: list[ModelState]) -> list[str]:
    from compiler.cli.narration import format_quantity

    rows = [("MODEL", "PHASES", "SIZE", "STATE")] if states else []
    for state in states:
        done = " ".join(str(phase) for phase in state.phases) or "-"
        rows.append((state.model_id, done, format_quantity(state.bytes, "bytes"), _shown(state.stale, state.phases)))
        for build in state.builds:
            done = " ".join(str(phase) for phase in build.phases) or "-"
            rows.append(
                (f"  {build.name}", done, format_quantity(build.bytes, "bytes"), _shown(build.stale, build.phases))
            )
    return table_lines(rows, terminal_width(), right=(2,))


def _shown(stale: str, phases: tuple[int, ...]) -> str:
    if stale:
        return f"stale: {stale}"
    return "ok" if phases else "empty"


def _list_architectures(as_json: bool) -> None:
    from compiler.graph.architectures import SUPPORTED

    if as_json:
        entries = [
            {"name": each.name, "example": each.example, "features": list(each.features), "missing": each.missing}
            for each in SUPPORTED
        ]
        answer({"architectures": entries})
        return
    rows = [
        (
            each.name,
            f"e.g. {each.example}: {'; '.join(each.features)}" + (f" (not: {each.missing})" if each.missing else ""),
        )
        for each in SUPPORTED
    ]
    for line in table_lines(rows, terminal_width()):
        click.echo(line)
