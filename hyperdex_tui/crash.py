"""What is left on the terminal when the app ends on a bug of its own: one line, no local variables."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from rich.console import Group, RenderableType
from rich.text import Text

from compiler.sanitize import one_line, printable

_LEAVE = b"\x1b[?1049l\x1b[?1000l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?2004l\x1b[<u\x1b[?25h\x1b[0m\n"
"""Off with the alternate screen, the mouse, bracketed paste and the keyboard protocol; on with the cursor."""


def terminal_restorer() -> Callable[[], object]:
    """A function that gives the terminal back as it is now, from anywhere and at any time."""
    import termios

    before = termios.tcgetattr(0)

    def restore() -> None:
        with suppress(OSError):
            os.write(1, _LEAVE)
        with suppress(termios.error):
            termios.tcsetattr(0, termios.TCSANOW, before)

    return restore


def crash_report(error: BaseException | None) -> RenderableType:
    """One line; with HYPERDEX_DEBUG=1 also where it happened."""
    cause = getattr(error, "error", None)  # a failed worker wraps what went wrong
    shown = cause if isinstance(cause, BaseException) else error
    what = one_line(f"{type(shown).__name__}: {shown}", 400)
    report = Text(f"hyperdex-tui: error: {what}; this is a bug of ours; HYPERDEX_DEBUG=1 shows where")
    if shown is None or os.environ.get("HYPERDEX_DEBUG") != "1":
        return report
    import traceback

    where = "".join(traceback.format_tb(shown.__traceback__))
    return Group(Text(printable(where, keep="\n").rstrip()), report)
