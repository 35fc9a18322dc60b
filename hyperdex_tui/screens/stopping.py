"""Stop a compile, wherever it is shown: after asking, with SIGTERM."""

from __future__ import annotations

from compiler.events import JobStarted
from hyperdex_tui.backend.jobs import JobFile, cancel, stop
from hyperdex_tui.screens.base import AppScreen


def ask_to_stop(screen: AppScreen, job: JobFile, started: JobStarted | None, pid: int = 0) -> None:
    """Ask, then ask the process to stop.

    Args:
        screen: says what came of it.
        job: the compile.
        started: who it is, as far as it said so.
        pid: its process, 0 for one that was not started by this app.
    """
    from hyperdex_tui.screens.ask import AskScreen

    def go_on(sure: bool | None) -> None:
        if sure:
            problem = stop(pid) if pid else cancel(started) if started is not None else "nobody knows its process yet"
            screen.say(problem or "asked the compile to stop", "warning" if problem else "information")

    question = f"Stop compiling {job.model_id}?"
    screen.app.push_screen(AskScreen(question, "Finished phases stay; the phase at work leaves nothing."), go_on)
