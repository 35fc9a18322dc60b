"""`hyperdex debug`: the emulator as a debugger, for people line by line or for programs as JSON lines."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click

from compiler.cli.options import build_option, examples, model_argument, prefix_option
from compiler.cli.prompt import parse_prompt
from compiler.cli.sampling import generation_options, warn_of_idle_options
from compiler.cli.selection import open_workspace, select_build
from compiler.errors import UsageError


@click.command(
    name="debug",
    epilog=examples(
        "hyperdex debug hyperdex/demo 'The owl lives in'",
        "hyperdex debug hyperdex/demo --prompt-ids 5,6,7 --execute 'break layer 2' --execute run",
    ),
)
@model_argument
@click.argument("prompt", required=False)
@prefix_option
@build_option
@generation_options
@click.option(
    "--execute",
    multiple=True,
    metavar="COMMAND",
    help="Carry out a debugger command first; may be given several times.",
)
@click.option("--json-lines", is_flag=True, help="Requests on stdin and records on stdout, one JSON object per line.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model_id: str,
    prompt: str | None,
    prefix: Path | None,
    build: str | None,
    prompt_ids: str | None,
    max_new_tokens: int | None,
    stop: tuple[str, ...],
    execute: tuple[str, ...],
    json_lines: bool,
    **sampling: Any,
) -> None:
    """Step through MODEL_ID's program on the emulator: breakpoints, registers, LMU, HBM.

    Commands are read from stdin; `help` lists them. Without PROMPT, begin with `start "TEXT"`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # numpy's threads are to leave it to others
    from compiler.cli.debug_session import DebugSession
    from compiler.emulator.session import SamplingParameters

    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    parameters = SamplingParameters(**sampling)
    warn_of_idle_options(ctx, parameters)
    folder = open_workspace(prefix).model(model_id)
    name = select_build(folder, build)
    if json_lines:
        if prompt is not None or prompt_ids is not None or execute:
            raise UsageError("--json-lines takes its prompt from a request", "leave PROMPT and --execute out")
        from compiler.cli.debug_server import serve

        serve(lambda on_token, on_progress: DebugSession(folder, name, on_token, on_progress))
        return
    from compiler.cli.debug_shell import DebugShell, terminal_lines

    session = DebugSession(folder, name, lambda token: shell.say_token(token))
    shell = DebugShell(session, sys.stdout)
    if prompt is not None or prompt_ids is not None:
        given = parse_prompt(prompt, prompt_ids)
        for line in shell.stopped(session.start(given, max_new_tokens or 0, parameters, stop)):
            shell.say(line)
    shell.loop(terminal_lines(execute))
