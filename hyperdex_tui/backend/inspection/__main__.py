"""`python -m hyperdex_tui.backend.inspection FOLDER BEGIN END MARK`: answers one request per line of standard input.

A request is a JSON object with the name of what to `do`. Answers are JSON lines:
any number of `{"done": rows}`, then `{"bytes": n, ...}` followed by n bytes, or
`{"error": text}`. The process ends with its input; whoever does not want an answer
any more ends it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

_NICE = 5
_MEMORY_BYTES = 3 << 30
"""What a request may take: a damaged program must not fill the machine."""

_REPORT_SECONDS = 0.1


class Answers:
    """Writes answers; progress at most ten times a second."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def progress(self, done: int) -> None:
        """Say how far it is."""
        now = time.monotonic()
        if now - self._last >= _REPORT_SECONDS:
            self._last = now
            self.write({"done": done})

    def write(self, value: dict[str, Any], content: bytes = b"") -> None:
        """Write a line and the bytes behind it."""
        sys.stdout.buffer.write(json.dumps(value).encode() + b"\n" + content)
        sys.stdout.buffer.flush()


def _end_without(parent: int) -> None:
    """End with the app even in the middle of a regular expression, which sees signals but no closed input."""

    def look(number: int, frame: object) -> None:
        if os.getppid() != parent:
            os._exit(0)

    signal.signal(signal.SIGALRM, look)


def main() -> int:
    """Serve until the input ends."""
    from compiler.errors import HyperDexError
    from compiler.quantity import bytes_text
    from hyperdex_tui.backend.inspection.service import Service

    _end_without(os.getppid())
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    answers = Answers()
    folder, begin, end, mark = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    try:
        service = Service(folder, begin, end, mark)
    except (HyperDexError, ValueError) as error:
        answers.write({"error": str(error)})
        return 1
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
        try:
            answer, content = service.answer(json.loads(line), answers.progress)
            answers.write({**answer, "bytes": len(content)}, content)
        except (HyperDexError, ValueError, IndexError, OSError) as error:
            answers.write({"error": str(error)})
        except MemoryError:
            answers.write({"error": f"it takes more than {bytes_text(_MEMORY_BYTES)} of memory"})
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
