"""The options that a job file says its job was started with, so that it can be started once more."""

from __future__ import annotations

import re
import shlex

from compiler.errors import ArtifactError
from compiler.sanitize import one_line

_FLAGS = frozenset({"--no-fusion", "--no-reorder", "--force", "--offline", "--low-memory-usage"})
_VALUED = frozenset({"--num-device", "--target", "--dtype", "--max-length", "--revision", "--topology", "--no-pass"})
_VALUE = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._/-]{0,199}")


def checked_options(text: str) -> tuple[str, ...]:
    """The options of a job file as words; the file may come from anybody, so only harmless ones pass.

    Raises:
        ArtifactError: there is another one, or a value that is none.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError:
        words = (text,)
    rest = iter(words)
    for word in rest:
        if word not in _FLAGS and not (word in _VALUED and _VALUE.fullmatch(next(rest, ""))):
            raise ArtifactError(f"the job was started with '{one_line(word, 60)}', which is not repeated from here")
    return words
