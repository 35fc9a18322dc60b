"""`hyperdex`: the group of commands and what becomes of every failure.

stdout carries data, stderr narration. A command is imported only when it is
called, so `hyperdex --help` loads click and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import click

from compiler import __version__
from compiler.cli.answer import answer_failure
from compiler.cli.failure import Signalled, as_error, did_you_mean
from compiler.errors import UsageError
from compiler.sanitize import one_line

SECTIONS: dict[str, dict[str, str]] = {
    "Models": {
        "search": "Models of the Hugging Face Hub by a part of their name.",
        "estimate": "What N devices will give, from config.json alone.",
        "download": "Download a checkpoint and nothing more.",
        "models": "What is in the prefix: phases, builds, sizes, stale or not.",
    },
    "Builds": {
        "compile": "Compile a model: phases 0-4.",
        "run": "The classic interactive session: asks, then compiles.",
        "verify": "Check a build: hashes, memory map, program.",
        "diff": "What two builds of a model differ in, or what each pass did to one.",
        "delete": "Delete builds; the checkpoint stays.",
    },
    "Inside a build": {
        "disasm": "Listing of its program.",
        "asm": "Assemble a listing to a program file.",
        "map": "Its memory map.",
    },
    "On the emulator": {
        "generate": "Run a build and print what it says.",
        "debug": "Step through its program.",
    },
    "This machine": {
        "doctor": "What it has: versions, space, cards, hub.",
        "completion": "What makes a shell complete commands and models.",
        "help": "The help of a command.",
    },
}
"""Name and summary of every command by subject; its module has the same name and defines `command`."""

COMMANDS = {name: summary for commands in SECTIONS.values() for name, summary in commands.items()}

COMPLETE = "_HYPERDEX_COMPLETE"
"""Where a shell that completes says what it wants of click."""


class ReaderGone(Exception):
    """Whoever read stdout went away. Not an OSError: click would answer that one with exit code 1."""


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the arguments, which may print help."""
        with _reader_may_go():
            return super().make_context(info_name, args, parent, **extra)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name.

        Raises:
            UsageError: there is no such command.
        """
        if not args[0].startswith("-") and not ctx.resilient_parsing:
            find_command(args[0])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; one that was asked for JSON says in JSON that it failed."""
        with _reader_may_go():
            try:
                return super().invoke(ctx)
            except (Exception, Signalled, KeyboardInterrupt) as failure:
                answer_failure(ctx, failure)
                raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command called `cmd_name`; None when there is none."""
        return find_command(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        width = max(len(name) for name in COMMANDS)
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in commands.items()])


def find_command(name: str) -> click.Command:
    """Import the command called `name`.

    Raises:
        UsageError: there is no such command.
    """
    if name not in COMMANDS:
        advice = did_you_mean(name, COMMANDS) or "see hyperdex --help"
        raise UsageError(f"there is no command {one_line(name, 60)!r}", advice)
    command = importlib.import_module(f"compiler.cli.{name}").command
    assert isinstance(command, click.Command)
    return command


@contextlib.contextmanager
def _reader_may_go() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    click.echo(f"hyperdex {__version__}")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    name="hyperdex",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 2 usage, 3 checkpoint damaged or incomplete, 4 model not supported, 5 does not fit, "
    "6 build damaged, foreign or missing, 7 assembly malformed, 8 machine fault, 9 hub or network, 10 busy, "
    "70 a bug of ours, 130 interrupted.",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show the version."
)
@click.pass_context
def group(ctx: click.Context) -> None:
    """Compile Hugging Face models for the LPU and run them on the emulator."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows the program's name; None takes the process's own.

    Returns:
        The exit code: 0, or that of the failure, which has been told on stderr in one line.
    """

    def run_command() -> int:
        try:
            outcome = group.main(args=arguments, prog_name="hyperdex", standalone_mode=False)
        except Signalled:
            raise
        except SystemExit as answered:
            if COMPLETE not in os.environ:
                raise
            outcome = answered.code  # so click ends what it said to a shell that completes
        return outcome if isinstance(outcome, int) else 0

    return guarded(run_command)


def guarded(action: Callable[[], int]) -> int:
    """Run `action`; whatever stops it becomes one line on stderr and an exit code.

    SIGTERM and SIGHUP unwind it like Ctrl+C. A reader of stdout that went away is no failure.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
    try:
        with _signals_interrupt():
            code = action()
        sys.stdout.flush()
        return code
    except (BrokenPipeError, ReaderGone):
        _silence_stdout()
        return 0
    except BaseException as failure:
        return _report(failure)


def _open_closed_streams() -> None:
    """A stream that the caller closed (`>&-`) is None: it becomes /dev/null."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP unwind the stack, so that temporary folders are removed; a second one kills."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for each, _ in replaced:
            signal.signal(each, signal.SIG_DFL)
        raise Signalled(f"interrupted by {signal.Signals(number).name}")

    replaced: list[tuple[int, object]] = []
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is None or signal.getsignal(number) is signal.SIG_IGN:
            continue
        try:
            replaced.append((number, signal.signal(number, interrupt)))
        except ValueError:  # not in the main thread: the owner of the process decides
            break
    try:
        yield
    finally:
        for number, previous in replaced:
            signal.signal(number, previous)  # type: ignore[arg-type]


def _report(failure: BaseException) -> int:
    """Tell `failure` on stderr in one line; the exit code."""
    if os.environ.get("HYPERDEX_DEBUG") == "1":
        import traceback

        traceback.print_exception(failure)
    error = as_error(failure)
    text = str(error)
    excerpt = getattr(failure, "excerpt", "")  # an assembly error shows the line at fault and a caret
    with contextlib.suppress(OSError):
        click.echo(f"hyperdex: error: {text}" + (f"\n{excerpt}" if excerpt else ""), err=True)
    return error.exit_code


def _silence_stdout() -> None:
    """Point stdout and, if its reader went too, stderr at nothing: the interpreter flushes them once more at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(null, stream.fileno())
    os.close(null)
