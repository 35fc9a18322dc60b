"""What a generation is asked for: the options that `generate` and `debug` share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from compiler.cli.options import Command
from compiler.cli.output import warn
from compiler.cli.prompt import shell_text
from compiler.errors import UsageError

if TYPE_CHECKING:
    from compiler.emulator.session import SamplingParameters

DEFAULT_NEW_TOKENS = 64
_IDLE = ("top_k", "top_p", "temperature", "seed")
"""Parameters that mean nothing where no token is drawn."""


def _stop_texts(_context: click.Context, _parameter: click.Parameter, stop: tuple[str, ...]) -> tuple[str, ...]:
    if "" in stop:
        raise UsageError("--stop is empty", "name a text, or leave the option out")
    return tuple(shell_text("--stop", text) for text in stop)


_OPTIONS = (
    click.option("--prompt-ids", metavar="1,2,3", help="The prompt as token ids instead of text; needs no tokenizer."),
    click.option(
        "--max-new-tokens",
        type=click.IntRange(min=1),
        metavar="K",
        help=f"Most tokens to generate.  [default: {DEFAULT_NEW_TOKENS}, or what the build has room for]",
    ),
    click.option("--do-sample", is_flag=True, help="Draw each token instead of taking the most probable one."),
    click.option("--top-k", default=0, show_default=True, metavar="K", help="Draw from the best K tokens; 0: all."),
    click.option(
        "--top-p", default=1.0, show_default=True, metavar="P", help="Draw from the best that make up P, 0-1."
    ),
    click.option(
        "--temperature", default=1.0, show_default=True, metavar="T", help="Above 1 flattens, below 1 sharpens."
    ),
    click.option(
        "--repetition-penalty", default=1.0, show_default=True, metavar="R", help="Above 1 avoids what was said."
    ),
    click.option("--seed", default=0, show_default=True, metavar="S", help="Equal seeds draw equal texts."),
    click.option(
        "--stop",
        multiple=True,
        metavar="TEXT",
        callback=_stop_texts,
        help="End before this text; may be given several times. Stop tokens of the model end it anyway.",
    ),
)


def generation_options(command: Command) -> Command:
    """Add what is asked for: prompt as ids, length, how tokens are chosen, where the text stops."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def warn_of_idle_options(context: click.Context, parameters: SamplingParameters) -> None:
    """Say which options were given and have no effect."""
    if parameters.do_sample:
        return
    given = [name for name in _IDLE if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        warn(f"{options} without --do-sample changes nothing: the most probable token is taken")
