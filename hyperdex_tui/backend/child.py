"""A child process that answers once: what it prints, and its complaint when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler.sanitize import one_line


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child left: its stdout, its exit code, and the last line of its stderr, "" when that is empty."""

    output: bytes
    exit_code: int
    complaint: str


def compiler_command(*arguments: str) -> tuple[str, ...]:
    """The command line of `python -m compiler` with `arguments`."""
    return (sys.executable, "-m", "compiler", *arguments)


async def ask_compiler(*arguments: str, patience_s: float | None = None) -> Answer:
    """Run `python -m compiler` with `arguments`; see `ask`."""
    return await ask(compiler_command(*arguments), patience_s)


async def ask(command: Sequence[str], patience_s: float | None = None) -> Answer:
    """Run a child to its end; cancelling this ends it.

    Args:
        command: its command line.
        patience_s: seconds after which it is ended; None waits for it.
    """
    import compiler

    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            cwd=Path(compiler.__file__).parent.parent,  # `-m` looks there first, never in the user's folder
        )
    except OSError as error:
        return Answer(b"", -1, f"no process can be started: {error.strerror}")
    try:
        output, errors = await asyncio.wait_for(process.communicate(), patience_s)
    except asyncio.TimeoutError:
        return Answer(b"", -1, f"no answer within {patience_s:g} s")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()  # its pipes, too, have to come to their end
    words = errors.decode("utf-8", "replace").strip().splitlines()
    complaint = one_line(words[-1].removeprefix("hyperdex: error: "), 300) if words else ""
    return Answer(output, process.returncode or 0, complaint)
