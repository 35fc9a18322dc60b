"""What a person or a program sees of a compile: plain lines, bars, or JSON lines.

In: event records. Out: lines on a text stream. All three are listeners of the
pipeline; none of them knows what a phase does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from compiler.events import (
    PHASE_TITLES,
    JobFinished,
    JobStarted,
    Listener,
    Message,
    PhaseFailed,
    PhaseFinished,
    PhaseStarted,
    Progress,
    Record,
    to_line,
)
from compiler.publish import explain
from compiler.quantity import bytes_text, percent_text
from compiler.sanitize import one_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

QUIET_SECONDS = 5.0
"""A plain progress line appears at most this often."""


def format_quantity(count: float, unit: str) -> str:
    """`count` of a unit for a person; bytes in decimal multiples."""
    if unit == "bytes":
        return bytes_text(round(count))
    return f"{count:,.0f} {unit.removesuffix('s') if count == 1 else unit}"


def heading(phase: int) -> str:
    """The classic heading of a phase."""
    return f"** Phase-{phase} : {PHASE_TITLES[phase]} **"


class PlainNarrator:
    """Writes headings, `[Info]` lines and now and then a progress line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.next_progress = QUIET_SECONDS

    def __call__(self, record: Record) -> None:
        """Listen to one record."""
        if isinstance(record, PhaseStarted):
            self.next_progress = record.seconds + QUIET_SECONDS
            self.say(heading(record.phase))
            if record.detail:
                self.info(record.detail)
        elif isinstance(record, Progress):
            self._progress(record)
        elif isinstance(record, Message):
            self.say(f"[{'Warning' if record.level == 'warning' else 'Info'}] {one_line(record.text)}")
        elif isinstance(record, PhaseFinished):
            self.info(_ending(record))

    def _progress(self, record: Progress) -> None:
        if record.seconds < self.next_progress or record.done >= record.total > 0:
            return
        self.next_progress = record.seconds + QUIET_SECONDS
        self.info(_state(record))

    def info(self, text: str) -> None:
        """Write one `[Info]` line."""
        self.say(f"[Info] {one_line(text)}")

    def say(self, line: str) -> None:
        """Write one line; a reader that went away does not stop the compile."""
        with contextlib.suppress(BrokenPipeError):
            self.stream.write(printable(line) + "\n")
            self.stream.flush()


def _ending(record: PhaseFinished) -> str:
    word = "Up to date" if record.skipped else "Done"
    return f"{word}: {record.reason}" if record.reason and record.reason.lower() != word.lower() else word


def _state(record: Progress) -> str:
    """Done, total, rate and what is left of the time, as far as known."""
    state = format_quantity(record.done, record.unit)
    if record.total:
        state += f" of {format_quantity(record.total, record.unit)} ({percent_text(record.done, record.total)})"
    if record.rate > 0:
        state += f", {format_quantity(record.rate, record.unit)}/s"
        state += f", {(record.total - record.done) / record.rate:.0f} s left" if record.total else ""
    return state


def _brief(record: Progress) -> str:
    """The same beside a bar, which says itself how large the share is: fits 80 columns with it."""
    done, total = format_quantity(record.done, record.unit), format_quantity(record.total, record.unit)
    if record.unit != "bytes":
        done = done.partition(" ")[0]
    state = f"{done} of {total}" if record.total else format_quantity(record.done, record.unit)
    if record.rate > 0:
        rate = format_quantity(record.rate, record.unit)
        state += f", {rate if record.unit == 'bytes' else rate.partition(' ')[0]}/s"
        state += f", {(record.total - record.done) / record.rate:.0f} s left" if record.total else ""
    return state


class BarNarrator(PlainNarrator):
    """The same lines, with a live bar below them while a phase runs."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars
        from rich.table import Column

        super().__init__(console.file)  # type: ignore[arg-type]
        self.console = console
        self.bars: Bars = Bars(
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=len("Phase-0"))),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[state]}", table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
        )
        self.task: TaskID | None = None

    def _progress(self, record: Progress) -> None:
        if self.task is None:
            self.task = self.bars.add_task(f"Phase-{record.phase}", total=None, state=_brief(record))
            self.bars.start()
        self.bars.update(self.task, completed=record.done, total=record.total or None, state=_brief(record))

    def __call__(self, record: Record) -> None:
        """Listen to one record; the bar goes when its phase ends."""
        if isinstance(record, (PhaseFinished, PhaseFailed)):
            self.clear()
        super().__call__(record)

    def clear(self) -> None:
        """Remove the bar."""
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None
            self.bars.stop()

    def say(self, line: str) -> None:
        """Write one line above the bar."""
        self.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


class EventWriter:
    """Writes each record as one JSON line, whole and at once.

    Args:
        stream: where to.
        path: the file it is, for messages; None for a stream without a name.
    """

    def __init__(self, stream: TextIO, path: Path | None = None) -> None:
        self.stream: TextIO | None = stream
        self.path = path

    def __call__(self, record: Record) -> None:
        """Write one record; a reader that went away does not stop the compile.

        Raises:
            CapacityError, UsageError: the disk is full or broken; nothing more is written then.
        """
        if self.stream is None:
            return
        try:
            self.stream.write(to_line(record) + "\n")
            self.stream.flush()
        except BrokenPipeError:
            self.stream = None
        except OSError as error:
            self.stream = None
            if self.path is None:
                raise
            raise explain(error, self.path, in_prefix=False) from error


class Narration:
    """The listeners of one compile; a context manager that closes what it opened.

    Args:
        events: write JSON lines to stdout, and nothing for a person.
        job: also append them to this file.
    """

    def __init__(self, events: bool = False, job: Path | None = None) -> None:
        self.person = _person_narrator()
        self.job_stream = _open_job(job) if job is not None else None
        self.listeners: list[Listener] = [EventWriter(sys.stdout) if events else self.person]
        self.last: Record | None = None
        if self.job_stream is not None:
            self.listeners.append(EventWriter(self.job_stream, job))

    def __call__(self, record: Record) -> None:
        """Pass one record to every listener."""
        self.last = record
        for listener in self.listeners:
            listener(record)

    def begin(self, model_id: str, build: str, options: str) -> None:
        """Say what is compiled, by whom, since when and with which options."""
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self(JobStarted(-1, 0.0, model_id, build, os.getpid(), socket.gethostname(), since, options))

    def end(self, build: str) -> None:
        """Say that the compile went through."""
        self(JobFinished(-1, self.last.seconds if self.last is not None else 0.0, build))

    def __enter__(self) -> Narration:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self.person, BarNarrator):
            self.person.clear()
        if failure is not None and not isinstance(self.last, (PhaseFailed, JobFinished)):
            self(_failed_record(self.last, failure))
        if self.job_stream is not None:
            with contextlib.suppress(OSError):  # what could not be written was told when it was tried
                self.job_stream.close()


def _open_job(path: Path) -> TextIO:
    """Open a job file to append to, readable by everybody."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    return os.fdopen(descriptor, "a", encoding="utf-8")


def _person_narrator() -> PlainNarrator:
    if not sys.stderr.isatty():
        return PlainNarrator(sys.stderr)
    from rich.console import Console

    console = Console(stderr=True)
    return BarNarrator(console) if console.is_terminal and not console.is_dumb_terminal else PlainNarrator(sys.stderr)


def _failed_record(last: Record | None, failure: BaseException) -> PhaseFailed:
    """What the job file says last when a compile stopped without saying so itself."""
    from compiler.cli.failure import as_error

    error = as_error(failure)
    phase = -1 if last is None or isinstance(last, (JobStarted, JobFinished)) else last.phase
    return PhaseFailed(phase, last.seconds if last is not None else 0.0, str(error), error.exit_code)
