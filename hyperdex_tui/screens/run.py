"""A compile at work or in the past: phases, log, cancel, and what to look at next."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.timer import Timer

from compiler.errors import HyperDexError
from compiler.workspace import Workspace, parse_build_name
from hyperdex_tui.backend.jobs import STARTING_S, Follower, JobFile, Launcher, is_alive, last_words
from hyperdex_tui.backend.progress import JobProgress
from hyperdex_tui.formatting import seconds_text, wrap
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import (
    GoBack,
    LineChanged,
    LineEntered,
    OpenCompile,
    OpenGenerate,
    OpenInstructions,
    OpenMemory,
    OpenRun,
    RowMoved,
)
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.screens.stopping import ask_to_stop
from hyperdex_tui.widgets.log_list import LEVELS, LogList
from hyperdex_tui.widgets.painted import Pane, line
from hyperdex_tui.widgets.phases import PhaseTable
from hyperdex_tui.widgets.run_headline import RunHeadline, ending

_POLL_S = 0.1
_LIFE_CHECK_S = 1.0
_LOG_ROWS = 3
_USUAL_ROWS = 18
_LOG_COLUMNS = 17
"""Cells of time, phase and sign before the text of a log line."""


class RunScreen(AppScreen):
    """Follows one job file, at most ten times a second, and stops polling when the job has ended."""

    scope = "run"
    BINDINGS: ClassVar[list[BindingType]] = bindings("run")

    def __init__(self, launcher: Launcher, job: JobFile) -> None:
        super().__init__(f"Run › {job.model_id}", note=f"job {job.job_id}")
        self.job = job
        self.model_id = job.model_id
        self.progress = JobProgress()
        self._launcher = launcher
        self._follower = Follower(job.path)
        self._timer: Timer | None = None
        self._read_at = time.monotonic()
        self._checked_at = self._opened_at = self._read_at
        self._shown = (-1, -1)

    def compose_body(self) -> ComposeResult:
        """Headline, phases, log."""
        yield RunHeadline()
        yield PhaseTable()
        yield LogList()
        yield Pane(id="log-line")

    def on_resize(self) -> None:
        """A small terminal has room for the phases, and for a line on how the job stands."""
        is_small = self.size.height < _USUAL_ROWS
        self.query_one(RunHeadline).styles.height = 1 if is_small else 3
        self.query_one(PhaseTable).styles.height = 5 if is_small else 7

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
        if started is None and not self._launcher.pid(self.job) and time.monotonic() - self._opened_at > STARTING_S:
            self.progress.fail("its file does not say which compile it is: it is empty or damaged", 1)
            return
        gone = code is not None or (started is not None and is_alive(started) is False)
        if gone and not self._follower.read():
            words = last_words(self.job).strip().splitlines()
            reason = words[-1] if words else "it left no words"
            exit_code = code if code is not None else 1
            self.progress.fail(f"the compile ended without a result ({ending(code)}): {reason}", exit_code)

    def _show(self) -> None:
        elapsed = seconds_text(self._now_s())
        self.query_one(RunHeadline).show_progress(self.job.model_id, self.progress, elapsed, is_there=self._is_there())
        self.query_one(PhaseTable).show(self.progress, self._now_s())
        self.query_one(LogList).show(self.progress)
        self.recheck_keys()

    def on_row_moved(self, event: RowMoved) -> None:
        """The whole text of a line that the list had to cut."""
        entry = self.query_one(LogList).current
        text = entry.text if entry is not None else ""
        width = max(20, self.size.width - 2)
        in_headline = text == self.progress.error and len(wrap(text, width, _LOG_ROWS)) < _LOG_ROWS
        fits = cell_len(text) <= width - _LOG_COLUMNS or in_headline
        pane = self.query_one("#log-line", Pane)
        pane.display = not fits
        pane.show([] if fits else [line((part, "dim")) for part in wrap(text, width, _LOG_ROWS)])

    def _is_there(self) -> bool:
        """Whether the build that was made still exists."""
        return self.progress.build in Workspace(self._launcher.prefix).model(self.job.model_id).builds()

    def offers(self, action: str) -> bool:
        """What ended cannot be stopped, what is not made cannot be looked at."""
        if action in ("cancel", "detach"):
            return not self.progress.ended
        if action in ("instructions", "memory", "prompt"):
            return bool(self.progress.build) and self._is_there()
        return self.progress.ended if action in ("retry", "compile") else True

    def action_level(self) -> None:
        """The next set of levels."""
        listing = self.query_one(LogList)
        names = list(LEVELS)
        listing.narrow(self.progress, names[(names.index(listing.level) + 1) % len(names)], listing.filter)

    def action_filter(self) -> None:
        """Type a text."""
        self.open_prompt("filter", "filter ", self.query_one(LogList).filter, "words of a line of the log")

    def on_line_changed(self, event: LineChanged) -> None:
        """Filter while typing."""
        listing = self.query_one(LogList)
        listing.narrow(self.progress, listing.level, event.text)

    def on_line_entered(self, event: LineEntered) -> None:
        """Keep the filter."""
        self.close_prompt()

    def step_back(self) -> bool:
        """Show the whole log again."""
        listing = self.query_one(LogList)
        if listing.level == "everything" and not listing.filter:
            return False
        listing.narrow(self.progress, "everything", "")
        return True

    def action_cancel(self) -> None:
        """Ask, then stop the process."""
        if self.progress.ended:
            self.say("this compile has already ended")
            return
        ask_to_stop(self, self.job, self.progress.started, self._launcher.pid(self.job))

    def action_detach(self) -> None:
        """Leave; the process goes on."""
        self.post_message(GoBack())

    def action_retry(self) -> None:
        """The same once more, in a new job."""
        if not self.progress.ended:
            self.say("it is still at work: x stops it", "warning")
            return
        if self.progress.started is None:
            self.action_compile()
            return
        try:
            job = self._launcher.again(self.progress.started)
        except (HyperDexError, OSError) as error:
            self.say(f"cannot start it again: {error}; c chooses anew", "error")
            return
        self.post_message(OpenRun(job.model_id, job.job_id))

    def action_compile(self) -> None:
        """The compile screen, with this build's target and devices."""
        build = self.progress.started.build if self.progress.started is not None else ""
        try:
            named = parse_build_name(build)
        except HyperDexError:
            self.post_message(OpenCompile(self.job.model_id))
        else:
            self.post_message(OpenCompile(self.job.model_id, named.target, named.num_devices))

    def _build(self) -> str:
        if not self.progress.build:
            self.say("no build yet: no compile has gone through here", "warning")
        elif not self._is_there():
            self.say(f"{self.progress.build} was deleted since: R compiles it again", "warning")
            return ""
        return self.progress.build

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
