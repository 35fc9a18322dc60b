"""`hyperdex run`, also `python -m compiler.cli.run`: the classic interactive session.

Asks for the model id and the number of LPU devices, then compiles. Both
questions come first: with both answers, a model that does not fit is refused
before anything is downloaded. Answers may come through a pipe, one per line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from compiler.cli.options import examples, offline_option, prefix_option, target_option
from compiler.cli.selection import open_workspace, other_models, place_demo
from compiler.errors import UsageError
from compiler.sanitize import one_line

Answer = TypeVar("Answer")


@click.command(name="run", epilog=examples("hyperdex run", "printf 'hyperdex/demo\\n2\\n' | hyperdex run"))
@prefix_option
@target_option
@offline_option
def command(prefix: Path | None, target: str, offline: bool) -> None:
    """Ask for the model and the number of devices, then compile.

    Answers may come through a pipe, one per line: the model, then the number of devices.
    """
    from compiler.cli.narration import Narration
    from compiler.pipeline import CompileOptions, compile_model
    from compiler.workspace import MAX_DEVICES, parse_model_id

    workspace = open_workspace(prefix)
    with Narration() as narration:
        narrator = narration.person
        narrator.say("** HyperDex compiler **")
        narrator.info(f"Models are in {workspace.prefix}")
        narrator.info("A model of the Hugging Face Hub, e.g. facebook/opt-1.3b, or one placed in PREFIX/ORG/NAME/ckpt")
        model_id = ask("Model ID", parse_model_id)
        narrator.info(f"The model is split over 1 to {MAX_DEVICES} LPU devices")
        num_devices = ask("Number of LPU devices", _device_count, default="1")
        folder = workspace.model(model_id)
        options = CompileOptions(num_devices, target, offline=place_demo(folder) or offline)
        with other_models(folder):
            build = compile_model(workspace, model_id, options, narration)
        narrator.info(f"Parameters: {folder.param(build)}")
        narrator.info(f"Instructions: {folder.inst(build)}")


def ask(question: str, parse: Callable[[str], Answer], default: str = "") -> Answer:
    """Ask on stderr, read a line from stdin; on a terminal a wrong answer is asked again.

    Raises:
        UsageError: stdin ended, or an answer through a pipe is wrong.
    """
    interactive = sys.stdin.isatty()
    shown = f" [{default}]" if default else ""
    while True:
        click.echo(f"[Option] {question}{shown}: ", nl=False, err=True)
        line = ""
        try:
            line = sys.stdin.readline()
        finally:
            if not (interactive and line):  # a person who answers ends the line
                click.echo(one_line(line, 200), err=True)
        if not line:
            raise UsageError(f"stdin ended before {question!r} was answered")
        try:
            return parse(line.strip() or default)
        except UsageError as error:
            if not interactive:
                raise
            click.echo(f"[Info] {error}", err=True)


def _device_count(text: str) -> int:
    """The answer as a number of devices.

    Raises:
        UsageError: not a whole number in the range.
    """
    from compiler.workspace import MAX_DEVICES

    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_DEVICES):
        raise UsageError(f"number of LPU devices {one_line(text, 40)!r} is not a whole number in 1..{MAX_DEVICES}")
    return int(text)


if __name__ == "__main__":
    from compiler.cli.main import main

    sys.exit(main(["run", *sys.argv[1:]]))
