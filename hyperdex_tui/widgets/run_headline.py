"""How a job stands, in three lines: at work, failed, or done, and what to do or look at next."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from compiler.quantity import counted
from hyperdex_tui.backend.progress import SKIPPED, JobProgress
from hyperdex_tui.formatting import amount_text, wrap
from hyperdex_tui.widgets.painted import Line, Pane, Span, line

_MADE = ("checkpoint", "converted model", "parameter files", "program")
"""What phases 1 to 4 make."""

_CANCELLED = 130
"""Exit code of a compile that was asked to stop."""

_ERROR_LINES = 2


class RunHeadline(Pane):
    """The lines above the phases."""

    def __init__(self) -> None:
        super().__init__(id="run-headline")

    def show_progress(self, model_id: str, progress: JobProgress, elapsed: str, *, is_there: bool) -> None:
        """Show a job; `is_there` tells whether the build it made still exists."""
        if progress.finished:
            self.show(_result(model_id, progress, elapsed, is_there))
        elif progress.error:
            self.show(_failure(progress, elapsed, max(20, self.screen.size.width - 2)))
        elif progress.started is None:
            self.show([line(("▶ starting", "accent"), ("  the compiler is being loaded", "dim"))])
        else:
            started = progress.started
            where = f"{started.build or 'download'}  process {started.pid} on {started.host}"
            leave = line(("Esc leaves; it goes on.", "dim"))
            self.show([line((f"▶ running {elapsed}", "accent"), (f"  {where}", "dim")), leave])


def ending(code: int | None) -> str:
    """How a process ended that said nothing."""
    if code is None:
        return "its process is gone"
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"{name}, as from a machine short of memory" if name == "SIGKILL" else name


def _failure(progress: JobProgress, elapsed: str, width: int) -> list[Line]:
    code = (f"  exit code {progress.exit_code}", "dim")
    next_step = line(*_keys(("R", "again"), ("c", "other choices"), ("L", "problems alone")))
    if progress.exit_code == _CANCELLED:
        stays = line("Finished phases stay, so that the next compile begins behind them.")
        return [line((f"■ cancelled after {elapsed}", "warn"), code), stays, next_step]
    parts = wrap(progress.error, width, _ERROR_LINES)
    reasons = [line((part, "text")) for part in parts]
    room = [next_step] if len(parts) < _ERROR_LINES else []
    return [line((f"✗ failed after {elapsed}", "bad"), code), *reasons, *room]


def _result(model_id: str, progress: JobProgress, elapsed: str, is_there: bool) -> list[Line]:
    if not progress.build:
        next_step = line(("c", "accent"), " chooses devices and compiles it")
        return [line(("✓ downloaded ", "good"), (model_id, "accent"), f" in {elapsed}"), next_step]
    head = line(("✓ compiled ", "good"), (progress.build, "accent"), f" in {elapsed}")
    if not is_there:
        again = _keys(("R", "compiles it again"), ("c", "other choices"))
        return [head, line(("! it was deleted since", "warn")), line(*again)]
    made = [
        f"{what} {amount_text(phase.done, phase.unit)}"
        for phase, what in zip(progress.phases[1:], _MADE, strict=True)
        if phase.done and phase.state != SKIPPED
    ]
    skipped = sum(phase.state == SKIPPED for phase in progress.phases)
    made += [f"{counted(skipped, 'phase')} up to date"] if skipped else []
    keys = (("i", "instructions"), ("m", "memory map"), ("p", "prompt it"), ("R", "again"), ("c", "other choices"))
    return [head, line(("made ", "dim"), ", ".join(made)), line(*_keys(*keys))]


def _keys(*keys: tuple[str, str]) -> Iterator[Span]:
    """Keys and what they do, in a row."""
    for cap, what in keys:
        yield from ((cap, "accent"), (f" {what}   ", "text"))
