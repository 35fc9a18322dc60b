"""Five phases of a compile as rows: mark, title, bar, amount, rate, time."""

from __future__ import annotations

from textual.strip import Strip

from compiler.quantity import percent_text
from hyperdex_tui.backend.progress import DONE, FAILED, RUNNING, SKIPPED, JobProgress, PhaseProgress
from hyperdex_tui.formatting import amount_text, pad, pad_left, rate_text, seconds_text
from hyperdex_tui.widgets.painted import Line, Painted, line

_MARKS = {RUNNING: ("▶", "accent"), DONE: ("✓", "good"), SKIPPED: ("=", "good"), FAILED: ("✗", "bad")}
_DOWNLOAD = 1
"""Number of the phase that downloads."""

_STEPS = "▁▂▃▄▅▆▇█"
_FIXED = 3 + 29 + 6 + 13 + 12
"""Cells of everything but bar and rate."""

_LONGEST_BAR = 60
"""A longer one would part the numbers from the phase they belong to."""

_RATE = 11
_WIDE = 100
"""Columns from which every row has its rate; before, the row under the table has that of the phase at work."""


class PhaseTable(Painted):
    """One row per phase, one for what is being worked on, one for the rate over time."""

    def __init__(self) -> None:
        super().__init__(id="phases")
        self._progress = JobProgress()
        self._now_s = 0.0

    def show(self, progress: JobProgress, now_s: float) -> None:
        """Show progress; `now_s` is seconds since the job began."""
        self._progress, self._now_s = progress, now_s
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """A phase, or the tensor in work."""
        width = self.size.width
        phases = self._progress.phases
        if y < len(phases):
            return self.paint(_phase_row(phases[y], self._still(phases[y]), width, self._now_s), width)
        current = self._progress.current
        if y == len(phases) and current is not None:
            return self.paint(line(("    now: ", "dim"), (current.source or current.detail, "text")), width)
        if y == len(phases) + 1 and current is not None and len(current.samples) > 1:
            return self.paint(_rate_row(current, width), width)
        return self.paint((), width)

    def _still(self, phase: PhaseProgress) -> str:
        """What to say of a phase that has not begun."""
        started = self._progress.started
        if started is not None and not started.build and phase.number > _DOWNLOAD:
            return "no part of a download"
        return "not reached" if self._progress.ended else "waiting"


def _rate_row(phase: PhaseProgress, width: int) -> Line:
    """The rate over time, scaled to its highest, which is named."""
    highest = max(phase.samples)
    text = f"  now {rate_text(phase.samples[-1], phase.unit)}, highest {rate_text(highest, phase.unit)}"
    shown = phase.samples[-max(1, width - len(text) - 10) :]
    return line(("   rate: ", "dim"), (sparkline(shown, highest), "accent"), (text, "dim"))


def sparkline(values: list[float], highest: float) -> str:
    """One cell per value: the lowest step for nothing, the full one for `highest`."""
    top = len(_STEPS) - 1
    return "".join(_STEPS[round(top * min(1.0, value / highest)) if highest > 0 else 0] for value in values)


def _phase_row(phase: PhaseProgress, still: str, width: int, now_s: float) -> Line:
    mark, role = _MARKS.get(phase.state, ("·", "dim"))
    title = pad(f"{phase.number} {phase.title}", 29)
    head = ((f" {mark} ", role), (title, "strong" if phase.state == RUNNING else "text"))
    if phase.state not in _MARKS:
        return line(*head, (still, "dim"))
    elapsed = (now_s if phase.state == RUNNING else phase.end_s) - phase.begin_s
    if phase.state == SKIPPED:
        detail = "" if phase.detail.startswith(SKIPPED) else f": {phase.detail}"
        return line(*head, (f"{phase.detail or SKIPPED}" if not detail else f"{SKIPPED}{detail}", "dim"))
    rate = rate_text(phase.rate, phase.unit) if width >= _WIDE else ""
    cells = min(_LONGEST_BAR, max(0, width - _FIXED - 1 - (_RATE if width >= _WIDE else 0)))
    amount = f"{amount_text(phase.done, phase.unit)}" if phase.unit else ""
    left = phase.remaining_s
    time = f"{seconds_text(left)} left" if left is not None else seconds_text(elapsed)
    return line(
        *head,
        *_bar(phase, cells),
        (pad_left(percent_text(phase.done, phase.total) if phase.state == RUNNING else "", 6), "text"),
        (pad_left(amount, 13), "text"),
        (pad_left(rate, _RATE) if width >= _WIDE else "", "dim"),
        (pad_left(time, 12), "text"),
    )


def _bar(phase: PhaseProgress, cells: int) -> Line:
    if cells < 4:
        return ()
    part = 1.0 if phase.state == DONE else min(1.0, phase.done / phase.total) if phase.total else 0.0
    full = int(part * cells)
    role = "bad" if phase.state == FAILED else "good" if phase.state == DONE else "accent"
    return (("█" * full, role), ("░" * (cells - full), "dim"))
