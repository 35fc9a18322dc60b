"""A build held against transformers, in a child process: seconds of work and gigabytes of memory.

The child is `hyperdex verify --reference --json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler.errors import HyperDexError
from compiler.sanitize import one_line
from hyperdex_tui.backend.child import ask, compiler_command


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


def verify_command(prefix: Path, model_id: str, build: str) -> tuple[str, ...]:
    """The child's command line."""
    place = ("--prefix", str(prefix.absolute()), "--build", build)
    return compiler_command("verify", *place, "--reference", "--json", "--", model_id)


async def compare_with_transformers(command: Sequence[str]) -> Verdict:
    """Run the child to its end; it ends with the task that waits for it.

    Raises:
        HyperDexError: it could not say anything; the message is its own last line.
    """
    answer = await ask(command)
    try:
        checks = json.loads(answer.output)["checks"]
        failed = [each for each in checks if not each["passed"]]
        chosen = next((each for each in failed if each["pc"] >= 0), failed[0] if failed else checks[-1])
        return Verdict(not failed, one_line(f"{chosen['name']}: {chosen['detail']}", 300), int(chosen["pc"]))
    except (ValueError, KeyError, TypeError, IndexError):
        ended = f"the comparison ended with exit code {answer.exit_code}"
        raise HyperDexError(answer.complaint or ended) from None
