"""Compiles as detached child processes, and their event files.

A compile is `python -m compiler compile ... --job FILE` in a session of its
own: it outlives the app, the terminal and the SSH connection. The app only
follows FILE, so any number of terminals can watch the same compile, also one
started elsewhere.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.errors import ArtifactError, UsageError
from compiler.opening import open_regular
from compiler.workspace import ModelFolder, Workspace, build_name, check_inside, parse_model_id
from hyperdex_tui.backend.job_options import checked_options

if TYPE_CHECKING:
    from compiler.events import JobStarted, Record

STARTING_S = 10.0
"""Seconds after which a compile has said who it is, or never will."""

_READ_BYTES = 1 << 20
_TAIL_BYTES = 1 << 14
_LINE_LIMIT = 1 << 20
"""A longer line is no event of ours: it is dropped unread."""

_GONE = "the process is already gone"


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What to compile. `max_length` 0 and `topology` "" leave it to the compiler."""

    model_id: str
    num_devices: int = 1
    target: str = "u55c"
    dtype: str = "float16"
    max_length: int = 0
    fusion: bool = True
    reorder: bool = True
    chunks: bool = True
    topology: str = ""
    force: bool = False

    @property
    def build(self) -> str:
        """Name of the build it makes."""
        return build_name(self.target, self.num_devices, self.dtype)

    @property
    def choices(self) -> list[str]:
        """Options of `compile` and of `estimate`: all but the number of devices."""
        words = ["--target", self.target, "--dtype", self.dtype]
        words += ["--max-length", str(self.max_length)] if self.max_length else []
        words += ["--topology", self.topology] if self.topology else []
        words += [] if self.fusion else ["--no-fusion"]
        words += [] if self.reorder else ["--no-reorder"]
        return words + ([] if self.chunks else ["--no-pass", "chunk-transmit"])

    def command(self, prefix: Path, job_file: Path) -> list[str]:
        """The child's command line."""
        command = [sys.executable, "-m", "compiler", "compile", self.model_id, "--prefix", str(prefix)]
        command += ["--num-device", str(self.num_devices), *self.choices]
        command += ["--force"] if self.force else []
        return [*command, "--events", "--job", str(job_file)]


@dataclass(frozen=True, slots=True)
class JobFile:
    """One compile of one model: its id and where its events are."""

    model_id: str
    job_id: str
    path: Path

    @property
    def log(self) -> Path:
        """What the child wrote to stdout and stderr: empty unless something broke."""
        return self.path.with_suffix(".log")


def job_file(prefix: Path, model_id: str, job_id: str) -> JobFile:
    """The job file of a job id."""
    return JobFile(model_id, job_id, Workspace(prefix).model(model_id).jobs / f"{job_id}.jsonl")


def list_jobs(prefix: Path) -> tuple[JobFile, ...]:
    """Every job of the prefix, newest first."""
    found = []
    for pattern in ("*/jobs/*.jsonl", "*/*/jobs/*.jsonl"):
        for path in prefix.glob(pattern):
            model_id = path.parent.parent.relative_to(prefix).as_posix()
            try:
                found.append(JobFile(parse_model_id(model_id), path.stem, path))
            except UsageError:
                continue
    return tuple(sorted(found, key=lambda job: job.job_id, reverse=True))


class Launcher:
    """Starts compiles and remembers those it started, to reap them and to know how they ended."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix.absolute()  # the child has another working directory
        self._children: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, spec: JobSpec) -> JobFile:
        """Start a compile.

        Raises:
            OSError: the prefix cannot be written or the process cannot be started.
        """
        return self.launch(spec.model_id, lambda path: spec.command(self.prefix, path))

    def download(self, model_id: str) -> JobFile:
        """Start a download without a compile.

        Raises:
            OSError: the prefix cannot be written or the process cannot be started.
        """
        command = [sys.executable, "-m", "compiler", "download", model_id, "--prefix", str(self.prefix), "--events"]
        return self.launch(model_id, lambda path: [*command, "--job", str(path)])

    def again(self, started: JobStarted) -> JobFile:
        """Start what a job did once more, with its own options.

        Raises:
            ArtifactError: the job file holds options that no job of ours has.
            OSError: the prefix cannot be written or the process cannot be started.
        """
        words = checked_options(started.options)
        command = [sys.executable, "-m", "compiler", "compile" if started.build else "download", started.model_id]
        command += ["--prefix", str(self.prefix), *words, "--events"]
        return self.launch(started.model_id, lambda path: [*command, "--job", str(path)])

    def launch(self, model_id: str, command: Callable[[Path], list[str]]) -> JobFile:
        """Start `command(job file)` in a session of its own.

        Raises:
            UsageError: the folder of jobs lies outside the model's.
            OSError: the prefix cannot be written or the process cannot be started.
        """
        import compiler

        job_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        job = job_file(self.prefix, model_id, job_id)
        check_inside(job.path.parent.parent, job.path.parent)
        job.path.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("xb") as log:
            self._children[job.path] = subprocess.Popen(
                command(job.path),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                cwd=Path(compiler.__file__).parent.parent,  # `-m` looks there first, never in the user's folder
            )
        return job

    def pid(self, job: JobFile) -> int:
        """Process id of a compile started here, 0 for others."""
        child = self._children.get(job.path)
        return child.pid if child is not None else 0

    def exit_code(self, job: JobFile) -> int | None:
        """How a compile started here ended; None while it runs or when it was started elsewhere."""
        child = self._children.get(job.path)
        return child.poll() if child is not None else None

    def running(self) -> int:
        """How many compiles started here still run."""
        return sum(child.poll() is None for child in self._children.values())


class Follower:
    """Reads the records that were appended to a job file since the last call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._rest = b""

    def read(self) -> list[Record]:
        """New records; lines that are no event of ours are passed over. Missing file: none yet."""
        from compiler.events import from_line

        try:
            with open_regular(self.path) as file:
                if os.fstat(file.fileno()).st_size < self._offset:
                    self._offset, self._rest = 0, b""
                file.seek(self._offset)
                chunk = file.read(_READ_BYTES)
        except OSError:
            return []
        self._offset += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LINE_LIMIT:
            self._rest = b""
        records = []
        for raw in lines:
            try:
                records.append(from_line(raw.decode("utf-8", "replace")))
            except ArtifactError:
                continue
        return records


def is_alive(started: JobStarted) -> bool | None:
    """Whether the process of a job still runs; None when it runs on another host."""
    if started.host != socket.gethostname():
        return None
    try:
        os.kill(started.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:  # the number may belong to another program by now
        words = Path(f"/proc/{started.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return True
    return b"compiler" in words or any(word.endswith(b"hyperdex") for word in words)


def running_job(folder: ModelFolder) -> str:
    """Id of the newest job of a model if its process still works on it, else ""."""
    from compiler.events import JobFinished, JobStarted, PhaseFailed, from_line

    try:
        newest = max(folder.jobs.glob("*.jsonl"), default=None, key=lambda path: path.name)
        if newest is None:
            return ""
        with open_regular(newest) as file:
            head = file.readline(_LINE_LIMIT)
            file.seek(max(0, newest.stat().st_size - _TAIL_BYTES))
            tail = file.read().rstrip().rpartition(b"\n")[2]
        started = from_line(head.decode("utf-8", "replace"))
        if not isinstance(started, JobStarted) or not is_alive(started):
            return ""
        return "" if isinstance(from_line(tail.decode("utf-8", "replace")), (JobFinished, PhaseFailed)) else newest.stem
    except (OSError, ArtifactError):
        return ""


def cancel(started: JobStarted) -> str:
    """Ask the compile of a job file to stop and clean up; what went wrong, or ""."""
    alive = is_alive(started)
    if alive is None:
        return f"it runs on {started.host}: stop it there"
    return stop(started.pid) if alive else _GONE


def stop(pid: int) -> str:
    """Ask a compile started here to stop and clean up; what went wrong, or ""."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return _GONE
    except PermissionError:
        return "the process belongs to another user"
    return ""


def last_words(job: JobFile, limit: int = 4000) -> str:
    """The end of what the child wrote to its log, for a job that died without an event."""
    try:
        with open_regular(job.log) as file:
            file.seek(max(0, job.log.stat().st_size - limit))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
