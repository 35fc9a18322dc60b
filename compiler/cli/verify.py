"""`hyperdex verify`: is a build whole and legal?

Every check runs, whatever the one before found; each is one line on stdout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.cli.answer import answer, json_option
from compiler.cli.options import build_option, examples, model_argument, prefix_option
from compiler.cli.selection import open_workspace, select_build
from compiler.errors import ArtifactError, HyperDexError
from compiler.quantity import counted

if TYPE_CHECKING:
    from compiler.artifacts.reader import Build
    from compiler.workspace import ModelFolder


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, whether the build passed, what was looked at or found, the instruction at fault or -1."""

    name: str
    passed: bool
    detail: str
    pc: int = -1


@click.command(
    name="verify",
    epilog=examples("hyperdex verify facebook/opt-125m", "hyperdex verify facebook/opt-125m --reference --json"),
)
@model_argument
@prefix_option
@build_option
@click.option("--reference", is_flag=True, help="Also run it beside transformers on the same checkpoint; slow.")
@json_option("One JSON object with every check.")
def command(model_id: str, prefix: Path | None, build: str | None, reference: bool, as_json: bool) -> None:
    """Check a build of MODEL_ID: files, hashes, checkpoint, memory map, program. Exit code 6 when it is damaged."""
    folder = open_workspace(prefix).model(model_id)
    name = select_build(folder, build)
    checks = verify_build(folder, name)
    if reference and checks[0].passed:
        from compiler.cli.reference import reference_checks

        checks += [Check(*each) for each in reference_checks(folder, name)]
    if as_json:
        rows = [asdict(check) for check in checks]
        answer({"model_id": folder.model_id, "build": name, "checks": rows})
    else:
        for check in checks:
            click.echo(f"{'ok' if check.passed else 'DAMAGED':<8} {check.name:<10} {check.detail}")
    failed = [check.name for check in checks if not check.passed]
    if failed:
        raise ArtifactError(f"{model_id} {name} failed: {', '.join(failed)}", "compile it again with --force")


def verify_build(folder: ModelFolder, name: str) -> list[Check]:
    """Every check of one build; when its files cannot even be opened, that one alone."""
    from compiler.artifacts.reader import open_build
    from compiler.cli.intact import check_checkpoint

    try:
        build = open_build(folder.param(name), folder.inst(name))
    except ArtifactError as error:
        return [Check("files", False, str(error))]
    clamped = build.param_manifest.clamped
    note = f"; {counted(len(clamped), 'tensor')} clamped to {build.manifest.dtype}" if clamped else ""
    files = len(build.param_manifest.files) + len(build.manifest.files)
    return [
        Check("files", True, f"{files} files with headers, sizes and fingerprints that belong together{note}"),
        _attempt("hashes", lambda: _hashes(build)),
        _attempt("checkpoint", lambda: check_checkpoint(folder, build.manifest)),
        _attempt("map", lambda: _memory_map(folder, build)),
        _attempt("program", lambda: _program(build)),
        _attempt("debug", lambda: f"{len(build.debug.nodes)} nodes, {len(build.debug.labels)} labels"),
    ]


def _attempt(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except HyperDexError as error:
        return Check(name, False, str(error))


def _hashes(build: Build) -> str:
    """Compare the hash of every file.

    Raises:
        ArtifactError: naming the first damaged file.
    """
    from compiler.artifacts.reader import verify_hashes
    from compiler.cli.narration import format_quantity

    sizes: list[int] = []
    damaged = verify_hashes(build, sizes.append)
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise ArtifactError(f"{damaged[0]}{more}: the content is not what was written")
    return f"SHA-256 over {format_quantity(sum(sizes), 'bytes')}"


def _memory_map(folder: ModelFolder, build: Build) -> str:
    """Check the geometry of the map, against the model's config where that is still there.

    Raises:
        VerificationError: naming the region and the rule.
        CheckpointError: the config is damaged.
    """
    from compiler.checkpoint.config import CONFIG_NAME, CheckpointConfig, load_config
    from compiler.checkpoint.converted import load_converted
    from compiler.graph.architectures import build_graph
    from compiler.graph.tensors import config_as_stored
    from compiler.mapping.verify import verify_map

    count = f"{len(build.memory_map.regions)} regions"
    if not (folder.ckpt / CONFIG_NAME).exists():
        return f"{count}, disjoint and inside the device; not compared with the model, {CONFIG_NAME} is gone"
    config = CheckpointConfig(load_config(folder.ckpt))
    graph, model = build_graph(config), load_converted(folder.ckpt)
    if model is not None:
        graph = build_graph(CheckpointConfig(config_as_stored(config.fields, graph, model)))
    verify_map(build.memory_map, graph)
    return f"{count}, disjoint, inside the device, and together every tensor of the model"


def _program(build: Build) -> str:
    """Decode every word and check what it does.

    Raises:
        AssemblyError: a word is no instruction.
        VerificationError: naming the instruction and the rule it breaks.
    """
    from compiler.isa.encode import decode_program
    from compiler.program.verify import verify_program

    instructions = decode_program(build.program_words.astype("<i4").tobytes())
    verify_program(instructions, build.memory_map, build.manifest.lmu_elements, len(build.tables))
    return f"{len(instructions):,} instructions: streams, regions, LMU bounds, transmit pairs, branches"
