"""`hyperdex debug`: the emulator as a debugger, for people line by line or for programs as JSON lines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from compiler.cli.options import build_option, model_argument, open_workspace, prefix_option, select_build
from compiler.cli.prompt import parse_prompt
from compiler.errors import UsageError


@click.command(name="debug")
@model_argument
@click.argument("prompt", required=False)
@prefix_option
@build_option
@click.option("--prompt-ids", metavar="1,2,3", help="The prompt as token ids; needs no tokenizer.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), metavar="K", help="Most tokens to generate.")
@click.option("--do-sample", is_flag=True, help="Draw each token instead of taking the most probable one.")
@click.option("--top-k", default=0, show_default=True, metavar="K", type=int, help="Draw from the best K; 0: all.")
@click.option("--top-p", default=1.0, show_default=True, metavar="P", help="Draw from the best that make up P.")
@click.option("--temperature", default=1.0, show_default=True, metavar="T", help="Above 1 flattens, below sharpens.")
@click.option("--repetition-penalty", default=1.0, show_default=True, metavar="R", help="Above 1 avoids what was said.")
@click.option("--seed", default=0, show_default=True, metavar="S", help="Equal seeds draw equal texts.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; may be given several times.")
@click.option(
    "--execute", multiple=True, metavar="COMMAND", help="Carry out a command first; may be given several times."
)
@click.option("--json-lines", is_flag=True, help="Requests on stdin and records on stdout, one JSON object a line.")
def command(
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
    """Step through MODEL_ID's program on the emulator: breakpoints, registers, LMU, HBM. `help` lists the commands."""
    from compiler.cli.debug_session import DebugSession
    from compiler.emulator.session import SamplingParameters

    folder = open_workspace(prefix).model(model_id)
    name = select_build(folder, build)
    if json_lines:
        from compiler.cli.debug_server import serve

        if prompt is not None or prompt_ids is not None or execute:
            raise UsageError("--json-lines takes its prompt from a request", "leave PROMPT and --execute out")
        serve(lambda on_token, on_progress: DebugSession(folder, name, on_token, on_progress))
        return
    from compiler.cli.debug_shell import DebugShell, terminal_lines

    session = DebugSession(folder, name, lambda token: shell.say_token(token))
    shell = DebugShell(session, sys.stdout)
    if prompt is not None or prompt_ids is not None:
        given = parse_prompt(prompt, prompt_ids, stop)
        for line in shell.stopped(session.start(given, max_new_tokens or 0, SamplingParameters(**sampling), stop)):
            shell.say(line)
    shell.loop(terminal_lines(execute))
