"""What stopped a command, as an error of our own tree: one line and an exit code.

In: any exception. Out: a `HyperDexError`. click's own complaints are told in our words.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import click

from compiler.errors import CapacityError, HyperDexError, Interrupted, UsageError
from compiler.sanitize import one_line

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_SHOWN = 3


class Signalled(SystemExit):
    """A signal came. Not a KeyboardInterrupt: click would answer that one itself."""


_KINDS = {
    "integer": "a whole number",
    "integer range": "a whole number",
    "float": "a number",
    "float range": "a number",
}
"""Click's names of what an option takes, in words."""


def as_error(failure: BaseException) -> HyperDexError:
    """The error of our own tree that says what `failure` says, in one line."""
    if isinstance(failure, HyperDexError):
        return failure
    if isinstance(failure, (KeyboardInterrupt, click.Abort)):
        return Interrupted("interrupted")
    if isinstance(failure, Signalled):
        return Interrupted(str(failure))
    if isinstance(failure, click.UsageError):
        return _usage_error(failure)
    if isinstance(failure, click.ClickException):
        return UsageError(failure.format_message())
    if isinstance(failure, MemoryError):
        return CapacityError("out of memory", "close other programs or use a smaller model")
    if isinstance(failure, OSError) and failure.filename is not None:
        where = failure.filename if isinstance(failure.filename, (str, Path)) else os.fsdecode(failure.filename)
        if failure.errno in _DISK_FULL:
            return CapacityError(f"{where}: the disk is full", "free some space")
        return UsageError(f"{where}: {failure.strerror}")
    if isinstance(failure, OSError) and failure.errno in _DISK_FULL:
        return CapacityError("the disk is full", "free some space")
    if isinstance(failure, OSError) and failure.errno is not None:  # of an open file, stdout among them
        return UsageError(f"a file or stream could not be read or written: {failure.strerror}")
    name = type(failure).__name__
    return HyperDexError(one_line(f"{name}: {failure}", 400), "this is a bug; HYPERDEX_DEBUG=1 shows where")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean A or B?` of the names that look like `name` or are it behind an ORG/; "" when none does."""
    names = list(known)
    same = [each for each in names if each.casefold().endswith(f"/{name.casefold()}")]
    close = list(dict.fromkeys([*same, *get_close_matches(name, names, _SHOWN, 0.6)]))[:_SHOWN]
    return f"did you mean {' or '.join(close)}?" if close else ""


def _usage_error(failure: click.UsageError) -> UsageError:
    """What click complains of, in the words of the other messages."""
    context, parameter = failure.ctx, getattr(failure, "param", None)
    advice = f"see {context.command_path if context else 'hyperdex'} --help"
    if isinstance(failure, click.NoSuchOption) and context is not None:
        return _no_option(failure.option_name, context, advice)
    if isinstance(failure, click.MissingParameter) and parameter is not None:
        return UsageError(f"{parameter.human_readable_name} is missing", advice)
    if isinstance(failure, click.BadParameter) and parameter is not None:
        name = parameter.opts[-1] if isinstance(parameter, click.Option) else parameter.human_readable_name
        kind = parameter.type.name
        message = failure.message.rstrip(".").replace(f"a valid {kind}", _KINDS.get(kind, f"a valid {kind}"))
        return UsageError(f"{name}: {message}", advice)
    return UsageError(failure.format_message().rstrip("."), advice)


def _no_option(name: str, context: click.Context, advice: str) -> UsageError:
    """An option that a command lacks, with those of its options that look like it."""
    if isinstance(context.command, click.Group):
        return UsageError(f"there is no option {name} in front of a command", f"options follow the command; {advice}")
    own = [option for parameter in context.command.get_params(context) for option in parameter.opts]
    meant = did_you_mean(name, [option for option in own if option.startswith("--")])
    return UsageError(f"hyperdex {context.info_name} has no option {name}", meant or advice)
