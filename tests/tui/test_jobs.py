"""Job files: followed piece by piece, never believed; the child's command line."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.errors import UsageError
from compiler.events import (
    JobFinished,
    JobStarted,
    Message,
    PhaseFailed,
    PhaseFinished,
    PhaseStarted,
    Progress,
    Record,
    to_line,
)
from compiler.source import SourceRef
from compiler.workspace import Workspace
from hyperdex_tui.backend.jobs import Follower, JobSpec, Launcher, cancel, is_alive, job_file, list_jobs, running_job
from hyperdex_tui.backend.progress import DONE, FAILED, RUNNING, SKIPPED, JobProgress

STARTED = JobStarted(-1, 0.0, "example/tiny", "u55c-1x", 1234, "host", "2026-01-01T00:00:00")
RECORDS: tuple[Record, ...] = (
    STARTED,
    PhaseStarted(0, 0.1, "config.json"),
    PhaseFinished(0, 0.2),
    PhaseStarted(1, 0.2),
    PhaseFinished(1, 0.3, True, "nothing changed"),
    PhaseStarted(2, 0.3),
    Progress(2, 1.3, 50, 200, "bytes", 50.0, SourceRef("m", "m.weight", 0)),
    Message(2, 1.4, "a warning", "warning"),
    Progress(2, 2.3, 200, 200, "bytes", 100.0),
    PhaseFinished(2, 2.4),
    JobFinished(-1, 2.5, "u55c-1x"),
)


def fold(*records: Record) -> JobProgress:
    progress = JobProgress()
    for record in records:
        progress.add(record)
    return progress


def test_a_followed_file_gives_every_record_once_wherever_it_was_cut(tmp_path: Path) -> None:
    content = "".join(to_line(record) + "\n" for record in RECORDS).encode()
    path = tmp_path / "job.jsonl"
    follower = Follower(path)
    assert follower.read() == []  # not there yet
    found: list[Record] = []
    for begin in range(0, len(content), 97):
        with path.open("ab") as file:
            file.write(content[begin : begin + 97])
        found += follower.read()
    assert tuple(found) == RECORDS


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"not json",
        b"[1, 2]",
        b'{"version": 99, "event": "started", "phase": 1, "seconds": 0}',
        json.dumps({"version": 1, "event": "started", "phase": 99, "seconds": 0}).encode(),
        json.dumps({"version": 1, "event": "started", "phase": "1", "seconds": "x"}).encode(),
        json.dumps({"version": 1, "event": "started", "phase": 1, "seconds": math.nan}).encode(),
        json.dumps({"version": 1, "event": "message", "phase": 1, "seconds": 0, "text": ["a"]}).encode(),
        json.dumps({"version": 1, "event": "message", "phase": 1, "seconds": 0, "source": {"layer": "x"}}).encode(),
        b"\xff\xfe\x00",
        b"{" * 5000,
    ],
)
def test_a_line_that_is_no_event_is_passed_over(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "job.jsonl"
    path.write_bytes(to_line(STARTED).encode() + b"\n" + line + b"\n" + to_line(RECORDS[1]).encode() + b"\n")
    assert Follower(path).read() == [STARTED, RECORDS[1]]


def test_a_file_that_became_shorter_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "job.jsonl"
    path.write_text("".join(to_line(record) + "\n" for record in RECORDS))
    follower = Follower(path)
    assert len(follower.read()) == len(RECORDS)
    path.write_text(to_line(STARTED) + "\n")
    assert follower.read() == [STARTED]


def test_folding_tells_how_each_phase_stands() -> None:
    progress = fold(*RECORDS[:8])
    assert [phase.state for phase in progress.phases[:3]] == [DONE, SKIPPED, RUNNING]
    assert progress.phases[2].remaining_s == pytest.approx(3.0)  # 150 bytes at 50 bytes/s
    assert progress.phases[2].source == "m.weight"
    assert not progress.ended
    progress = fold(*RECORDS)
    assert progress.finished == "u55c-1x" and progress.state() == DONE


def test_a_failed_phase_ends_the_job() -> None:
    progress = fold(*RECORDS[:7], PhaseFailed(2, 1.5, "tensor missing", 3))
    assert progress.ended and progress.exit_code == 3
    assert progress.phases[2].state == FAILED


def test_the_command_line_says_every_choice(tmp_path: Path) -> None:
    off = {"fusion": False, "reorder": False, "chunks": False}
    spec = JobSpec("a/b", 4, "lpu-819", "bfloat16", 512, **off, topology="ring", force=True)
    command = spec.command(tmp_path, tmp_path / "x.jsonl")
    assert command[:5] == [sys.executable, "-m", "compiler", "compile", "a/b"]
    wanted = (
        "--num-device 4 --target lpu-819 --dtype bfloat16 --max-length 512 --topology ring --no-fusion --no-reorder"
    )
    wanted += " --no-pass chunk-transmit --force"
    assert wanted in " ".join(command)
    assert command[-3:] == ["--events", "--job", str(tmp_path / "x.jsonl")]
    assert spec.build == "lpu-819-4x-bfloat16"


def test_the_compiler_knows_every_option_the_app_gives(tmp_path: Path) -> None:
    from compiler.cli import compile, estimate

    spec = JobSpec("a/b", max_length=1, fusion=False, reorder=False, chunks=False, topology="ring", force=True)
    for command, words in ((compile.command, spec.command(tmp_path, tmp_path / "x")), (estimate.command, spec.choices)):
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_no_job_is_started_through_a_link_out_of_the_model(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    model = tmp_path / "prefix" / "a" / "b"
    model.mkdir(parents=True)
    (model / "jobs").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="outside the model folder"):
        Launcher(tmp_path / "prefix").start(JobSpec("a/b"))
    assert not list(elsewhere.iterdir())


def test_jobs_are_listed_newest_first_and_foreign_folders_ignored(prefix: Path) -> None:
    for model, name in (("a/b", "20260101-000000-aa"), ("c", "20260202-000000-bb"), ("a/b", "20260303-000000-cc")):
        job = job_file(prefix, model, name)
        job.path.parent.mkdir(parents=True, exist_ok=True)
        job.path.touch()
    strange = prefix / "..x" / "jobs"
    strange.mkdir(parents=True)
    (strange / "y.jsonl").touch()
    assert [job.job_id[:8] for job in list_jobs(prefix)] == ["20260303", "20260202", "20260101"]


def test_a_process_that_ended_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    host = socket.gethostname()
    assert is_alive(JobStarted(-1, 0.0, "m", "b", child.pid, host, "")) is False
    elsewhere = JobStarted(-1, 0.0, "m", "b", os.getpid(), "another-host", "")
    assert is_alive(elsewhere) is None
    assert cancel(elsewhere) == "it runs on another-host: stop it there"


def test_another_program_with_the_same_number_is_not_the_job() -> None:
    child = subprocess.Popen(["sleep", "30"])
    try:
        started = JobStarted(-1, 0.0, "m", "b", child.pid, socket.gethostname(), "")
        assert is_alive(started) is False
        assert cancel(started) == "the process is already gone"
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_pipe_in_place_of_a_job_file_is_not_waited_for(tmp_path: Path) -> None:
    folder = Workspace(tmp_path).model("org/name")
    folder.jobs.mkdir(parents=True)
    os.mkfifo(folder.jobs / "1.jsonl")
    assert Follower(folder.jobs / "1.jsonl").read() == []
    assert running_job(folder) == ""
