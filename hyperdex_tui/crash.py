"""What is left on the terminal when the app ends on a bug of its own: one line, no local variables."""

from __future__ import annotations

import os

from rich.console import Group, RenderableType
from rich.text import Text

from compiler.sanitize import one_line, printable


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
