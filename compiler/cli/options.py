"""Options and arguments that several commands share, each declared once, and the examples below a help text."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from compiler.cli import candidates
from compiler.cli.output import OutputFile
from compiler.errors import UsageError
from compiler.sanitize import one_line

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
        shell_complete=candidates.targets,
        help="Device to compile for: u55c, lpu-819, lpu-1640 or lpu-3280.",
    )(command)


def dtype_option(command: Command) -> Command:
    """Add `--dtype`, the element type of a build."""
    return click.option(
        "--dtype",
        default="float16",
        show_default=True,
        metavar="D",
        shell_complete=candidates.dtypes,
        help="Element type: float16 (the hardware's), bfloat16 or float32.",
    )(command)


def topology_option(command: Command) -> Command:
    """Add `--topology`; "" stands for the target's own."""
    return click.option(
        "--topology",
        default="",
        metavar="W",
        shell_complete=candidates.topologies,
        help="How the devices are wired: ring, 2-lines or 4-lines.  [default: the target's own]",
    )(command)


def pass_options(command: Command) -> Command:
    """Add `--no-fusion`, `--no-reorder` and `--no-pass`: what is left out of a compile."""
    fusion = click.option("--no-fusion", is_flag=True, help="Leave out the fusion passes.")
    reorder = click.option("--no-reorder", is_flag=True, help="Leave out the passes that reorder.")
    single = click.option(
        "--no-pass",
        "without",
        multiple=True,
        metavar="NAME",
        shell_complete=candidates.passes,
        help="Leave out one pass, e.g. overlap; may be given several times.",
    )
    return fusion(reorder(single(command)))


def offline_option(command: Command) -> Command:
    """Add `--offline`."""
    return click.option("--offline", is_flag=True, help="Never ask the hub; use what lies in ckpt/.")(command)


def revision_option(command: Command) -> Command:
    """Add `--revision`, which version of a repository is meant."""
    return click.option(
        "--revision", metavar="R", help="Branch, tag or commit on the hub.  [default: the hub's main branch]"
    )(command)


def event_options(command: Command) -> Command:
    """Add `--events` and `--job`: what happens, as one JSON object per line."""
    events = click.option("--events", is_flag=True, help="One JSON object per event on stdout instead of narration.")
    job = click.option("--job", type=OutputFile(), metavar="FILE", help="Append the events to FILE, too.")
    return events(job(command))


def build_option(command: Command) -> Command:
    """Add `--build`, which may be left out when there is only one."""
    return click.option(
        "--build",
        metavar="B",
        shell_complete=candidates.builds,
        help="Build, e.g. u55c-2x.  [default: the only one]",
    )(command)


def model_argument(command: Command) -> Command:
    """Add the argument MODEL_ID."""
    return click.argument("model_id", metavar="MODEL_ID", shell_complete=candidates.models)(command)


def examples(*lines: str) -> str:
    """The end of a help text: command lines to copy."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


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
