"""What `--json` prints: one JSON value on stdout, also when the command fails.

A failure is `{"error": {"exit_code": 6, "message": "..."}}`, unless the answer itself was out before; stderr and the
exit code are those of the same command without `--json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import click

from compiler.cli.failure import as_error
from compiler.cli.options import Command

_OWED = "compiler.cli.answer"
"""Key of a context's `meta`: whether the command owes an answer."""


def json_option(help_text: str, *names: str) -> Callable[[Command], Command]:
    """Add `--json`, or another flag that makes stdout JSON.

    Args:
        help_text: what the JSON holds.
        names: the flag and the name of its parameter; none: `--json` and `as_json`.
    """

    def owe(context: click.Context, _parameter: click.Parameter, wanted: bool) -> bool:
        if wanted:
            context.meta[_OWED] = True
        return wanted

    return click.option(*(names or ("--json", "as_json")), is_flag=True, is_eager=True, callback=owe, help=help_text)


def answer(value: object) -> None:
    """Print the answer of the running command."""
    click.echo(json.dumps(value))
    answered()


def answered() -> None:
    """Note that the running command has printed its answer by itself."""
    click.get_current_context().meta.pop(_OWED, None)


def answer_failure(context: click.Context, failure: BaseException) -> None:
    """Print why there is no answer, where one is owed."""
    if context.meta.pop(_OWED, False):
        error = as_error(failure)
        click.echo(json.dumps({"error": {"exit_code": error.exit_code, "message": str(error)}}))
