"""A build held against transformers, in a child process: seconds of work and gigabytes of memory.

The child is `hyperdex verify --reference --json`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from compiler.errors import HyperDexError
from compiler.sanitize import one_line


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it.

    Attributes:
        passed: whether every check did.
        text: in one line; of a failure, the first one.
        pc: the first instruction whose result is wrong, -1 when there is none.
    """

    passed: bool
    text: str
    pc: int = -1


def verify_command(prefix: Path, model_id: str, build: str) -> list[str]:
    """The child's command line."""
    command = [sys.executable, "-m", "compiler", "verify", "--prefix", str(prefix.absolute()), "--build", build]
    return [*command, "--reference", "--json", "--", model_id]


async def compare_with_transformers(command: list[str]) -> Verdict:
    """Run the child to its end; it ends with the task that waits for it.

    Raises:
        HyperDexError: it could not say anything; the message is its own last line.
    """
    import compiler

    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            cwd=Path(compiler.__file__).parent.parent,
        )
    except OSError as error:
        raise HyperDexError(f"no process can be started to compare: {error.strerror}") from None
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    try:
        checks = json.loads(out)["checks"]
        failed = [each for each in checks if not each["passed"]]
        chosen = next((each for each in failed if each["pc"] >= 0), failed[0] if failed else checks[-1])
        return Verdict(not failed, one_line(f"{chosen['name']}: {chosen['detail']}", 300), int(chosen["pc"]))
    except (ValueError, KeyError, TypeError, IndexError):
        words = err.decode("utf-8", "replace").strip().splitlines()
        last = words[-1] if words else f"the comparison ended with exit code {process.returncode}"
        raise HyperDexError(one_line(last.removeprefix("hyperdex: error: "), 500)) from None
