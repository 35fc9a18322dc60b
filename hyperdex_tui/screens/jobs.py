"""The compiles of a prefix, running and finished, started here or elsewhere."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.quantity import percent_text
from hyperdex_tui.backend.jobs import STARTING_S, Follower, JobFile, is_alive, list_jobs
from hyperdex_tui.backend.progress import RUNNING, JobProgress
from hyperdex_tui.formatting import pad, pad_left, seconds_text
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import OpenRun, RowChosen
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.screens.stopping import ask_to_stop
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.painted import Line, line
from hyperdex_tui.widgets.row_list import RowList

_WATCH_S = 1.0
"""Seconds until the files are read again while a job runs."""

_LIMIT = 200
"""Only the newest jobs are read."""

_ROLES = {"done": "good", "failed": "bad", "cancelled": "warn", "died": "bad", "damaged": "bad", "running": "accent"}

JobRow = tuple[JobFile, JobProgress, str]


def read_jobs(prefix: Path) -> list[JobRow]:
    """The newest jobs with how they stand."""
    rows = []
    for job in list_jobs(prefix)[:_LIMIT]:
        progress, follower = JobProgress(), Follower(job.path)
        while records := follower.read():
            for record in records:
                progress.add(record)
        state = progress.state()
        if not progress.ended and progress.started is not None and is_alive(progress.started) is False:
            state = "died"
        if progress.started is None and not progress.ended and _age_s(job) > STARTING_S:
            state = "damaged"
        rows.append((job, progress, state))
    return rows


def _state_text(progress: JobProgress, state: str) -> str:
    """The state, with how far the phase at work is."""
    current = progress.current
    if state != RUNNING or current is None or not current.total:
        return state
    return f"{state} {percent_text(current.done, current.total)}"


def _phase_text(progress: JobProgress) -> str:
    """The phase at work, and what is left of its time."""
    current = progress.current
    if progress.ended or current is None:
        return ""
    left = current.remaining_s
    return f"phase {current.number}" + (f", {seconds_text(left)} left" if left is not None else "")


def _age_s(job: JobFile) -> float:
    """Seconds since a job file was written; 0 for one that is gone."""
    try:
        return time.time() - job.path.stat().st_mtime
    except OSError:
        return 0.0


class JobList(RowList):
    """One row per job, newest first."""

    def __init__(self) -> None:
        super().__init__(id="job-list")
        self.jobs: list[JobRow] | None = None

    def row_count(self) -> int:
        """Jobs."""
        return len(self.jobs or ())

    @property
    def table_name(self) -> str:
        """Words for the name of an exported file."""
        return "jobs"

    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return ("job", "state", "seconds", "build", "model_id", "exit_code", "error")

    def cells(self, index: int) -> tuple[Cell, ...]:
        """Values of a job."""
        job, progress, state = (self.jobs or [])[index]
        build = progress.started.build if progress.started else None
        error = progress.error or None
        return (job.job_id, state, round(progress.seconds, 3), build, job.model_id, progress.exit_code, error)

    def heading(self, width: int) -> Line:
        """Column titles."""
        return line((pad(f"  {'Started':<18}{'State':<14}{'Time':>7}  {'Build':<16} Model", width), "head"))

    def row(self, index: int, width: int) -> Line:
        """One job."""
        job, progress, state = (self.jobs or [])[index]
        began = job.job_id
        if len(began) >= 15 and began[8] == "-":
            began = f"{began[0:4]}-{began[4:6]}-{began[6:8]} {began[9:11]}:{began[11:13]}"
        build = progress.started.build if progress.started else ""
        return line(
            (pad(began, 18), "text"),
            (pad(_state_text(progress, state), 14), _ROLES.get(state, "text")),
            (pad_left(seconds_text(progress.seconds), 7) + "  ", "text"),
            (pad(build or ("download" if progress.started else ""), 17), "text"),
            (job.model_id, "strong"),
            ("  " + (progress.error or _phase_text(progress)), "bad" if progress.error else "dim"),
        )

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """Reading, or none yet."""
        if self.jobs is None:
            return (line(("  Reading the job files …", "dim")),)
        return (line("  No compile yet."), line(("  Esc goes back to the models; c there starts one.", "dim")))


class JobsScreen(AppScreen):
    """The list; Enter follows a job."""

    scope = "jobs"
    BINDINGS: ClassVar[list[BindingType]] = bindings("jobs")

    def __init__(self, prefix: Path) -> None:
        super().__init__("Jobs", note=f"prefix {prefix}")
        self._prefix = prefix

    def compose_body(self) -> ComposeResult:
        """The list."""
        yield JobList()

    def on_screen_resume(self) -> None:
        """Read the files whenever the screen comes to the front."""
        self.action_rescan()

    def action_rescan(self) -> None:
        """Read the files in a thread."""
        self.run_worker(self._scan(), exclusive=True, group="scan")

    async def _scan(self) -> None:
        listing = self.query_one(JobList)
        listing.jobs = await asyncio.to_thread(read_jobs, self._prefix)
        listing.rows_changed()
        if any(state in ("starting", "running") for _, _, state in listing.jobs):
            self.set_timer(_WATCH_S, self._watch)

    def _watch(self) -> None:
        if self.is_current:
            self.action_rescan()

    def on_row_chosen(self, event: RowChosen) -> None:
        """Follow it."""
        self.action_attach()

    def action_cancel(self) -> None:
        """Ask, then stop the job under the cursor."""
        listing = self.query_one(JobList)
        if not listing.jobs:
            return
        job, progress, state = listing.jobs[listing.cursor]
        if state not in ("starting", RUNNING):
            self.say("this compile has already ended")
            return
        ask_to_stop(self, job, progress.started)

    def action_attach(self) -> None:
        """Follow the job under the cursor."""
        listing = self.query_one(JobList)
        if listing.jobs:
            job = listing.jobs[listing.cursor][0]
            self.post_message(OpenRun(job.model_id, job.job_id))
