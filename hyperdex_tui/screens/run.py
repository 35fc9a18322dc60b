"""A compile at work or in the past: phases, log, cancel, and what to look at next."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.timer import Timer

from hyperdex_tui.backend.jobs import Follower, JobFile, Launcher, cancel, is_alive, last_words
from hyperdex_tui.backend.progress import JobProgress
from hyperdex_tui.formatting import seconds_text, wrap
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import GoBack, OpenCompile, OpenGenerate, OpenInstructions, OpenMemory, RowMoved
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.log_list import LogList
from hyperdex_tui.widgets.painted import Line, Pane, line
from hyperdex_tui.widgets.phases import PhaseTable

_POLL_S = 0.1
_LIFE_CHECK_S = 1.0
_LOG_ROWS = 3
_LOG_COLUMNS = 17
"""Cells of time, phase and sign before the text of a log line."""


class RunScreen(AppScreen):
    """Follows one job file, at most ten times a second, and stops polling when the job has ended."""

    scope = "run"
    BINDINGS: ClassVar[list[BindingType]] = bindings("run")

    def __init__(self, launcher: Launcher, job: JobFile) -> None:
        super().__init__(f"Compile › {job.model_id}", note=f"job {job.job_id}")
        self.job = job
        self.progress = JobProgress()
        self._launcher = launcher
        self._follower = Follower(job.path)
        self._timer: Timer | None = None
        self._read_at = time.monotonic()
        self._checked_at = self._read_at
        self._shown = (-1, -1)
        self._cancelled = False

    def compose_body(self) -> ComposeResult:
        """Headline, phases, log."""
        yield Pane(id="run-headline")
        yield PhaseTable()
        yield LogList()
        yield Pane(id="log-line")

    def on_mount(self) -> None:
        """Read what is there; poll only while more is due."""
        self._poll()
        if not self.progress.ended:
            self._timer = self.set_interval(_POLL_S, self._poll)

    def _poll(self) -> None:
        records = self._follower.read()
        for record in records:
            self.progress.add(record)
        now = time.monotonic()
        if records:
            self._read_at = now
        elif not self.progress.ended and now - self._checked_at >= _LIFE_CHECK_S:
            self._checked_at = now
            self._check_life()
        if self.progress.ended and self._timer is not None and not records:
            self._timer.stop()
        shown = (self.progress.revision, int(self._now_s()))
        if shown != self._shown:
            self._shown = shown
            self._show()

    def _now_s(self) -> float:
        if self.progress.ended:
            return self.progress.seconds
        return self.progress.seconds + time.monotonic() - self._read_at

    def _check_life(self) -> None:
        """A process that died without a last event is a failure, not an eternal wait."""
        code = self._launcher.exit_code(self.job)
        started = self.progress.started
        gone = code is not None or (started is not None and is_alive(started) is False)
        if gone and not self._follower.read():
            words = last_words(self.job).strip().splitlines()
            reason = words[-1] if words else "no last words"
            exit_code = code if code is not None else 1
            self.progress.fail(f"the compile ended without a result (exit code {exit_code}): {reason}", exit_code)

    def _show(self) -> None:
        self.query_one("#run-headline", Pane).show(self._headline())
        self.query_one(PhaseTable).show(self.progress, self._now_s())
        self.query_one(LogList).show(self.progress.log)

    def on_row_moved(self, event: RowMoved) -> None:
        """The whole text of a line that the list had to cut."""
        lines = self.progress.log
        text = lines[event.row].text if 0 <= event.row < len(lines) else ""
        width = max(20, self.size.width - 2)
        fits = cell_len(text) <= width - _LOG_COLUMNS
        pane = self.query_one("#log-line", Pane)
        pane.display = not fits
        pane.show([] if fits else [line((part, "dim")) for part in wrap(text, width, _LOG_ROWS)])

    def _headline(self) -> list[Line]:
        progress = self.progress
        elapsed = seconds_text(self._now_s())
        if progress.finished:
            return [
                line(("✓ compiled ", "good"), (progress.finished, "accent"), f" in {elapsed}"),
                line(
                    ("i", "accent"),
                    " instructions   ",
                    ("m", "accent"),
                    " memory map   ",
                    ("p", "accent"),
                    " prompt it",
                ),
            ]
        if progress.error:
            head = "■ cancelled" if progress.exit_code == 130 else "✗ failed"
            return [
                line((f"{head} after {elapsed}", "bad"), (f"  exit code {progress.exit_code}", "dim")),
                *(line((part, "text")) for part in wrap(progress.error, max(20, self.size.width - 2), 2)),
            ]
        if progress.started is None:
            return [line(("▶ starting", "accent"), ("  the compiler is being loaded", "dim"))]
        where = f"{progress.started.build}  process {progress.started.pid} on {progress.started.host}"
        return [
            line((f"▶ running {elapsed}", "accent"), (f"  {where}", "dim")),
            line(("Esc leaves; it goes on.", "dim")),
        ]

    def action_cancel(self) -> None:
        """Ask, then stop the process."""
        if self.progress.ended:
            self.say("this compile has already ended")
            return
        from hyperdex_tui.screens.ask import AskScreen

        self.app.push_screen(
            AskScreen(
                f"Stop compiling {self.job.model_id}?", "Finished phases stay; the phase at work leaves nothing."
            ),
            self._cancel,
        )

    def _cancel(self, sure: bool | None) -> None:
        if not sure:
            return
        started = self.progress.started
        pid = started.pid if started is not None else self._launcher.pid(self.job)
        if not pid or (started is not None and is_alive(started) is None):
            self.say("the process runs on another host: stop it there", "warning")
            return
        problem = cancel(pid)
        self.say(problem or "asked the compile to stop", "warning" if problem else "information")

    def action_detach(self) -> None:
        """Leave; the process goes on."""
        self.post_message(GoBack())

    def action_retry(self) -> None:
        """The compile screen again."""
        self.post_message(OpenCompile(self.job.model_id))

    def _build(self) -> str:
        if not self.progress.finished:
            self.say("no build yet: the compile has not gone through", "warning")
        return self.progress.finished

    def action_instructions(self) -> None:
        """Instruction list of the new build."""
        if build := self._build():
            self.post_message(OpenInstructions(self.job.model_id, build))

    def action_memory(self) -> None:
        """Memory map of the new build."""
        if build := self._build():
            self.post_message(OpenMemory(self.job.model_id, build))

    def action_prompt(self) -> None:
        """Generate with the new build."""
        if build := self._build():
            self.post_message(OpenGenerate(self.job.model_id, build))
