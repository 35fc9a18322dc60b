"""Laws of narration: what is said is printable, events are whole lines, a lost reader stops nothing."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path

import pytest

from compiler.cli.narration import BarNarrator, EventWriter, Narration, PlainNarrator, format_quantity, heading
from compiler.errors import CapacityError
from compiler.events import (
    PHASE_TITLES,
    JobFinished,
    JobStarted,
    Message,
    PhaseFailed,
    PhaseFinished,
    PhaseStarted,
    Progress,
    Record,
    from_line,
)

RECORDS: tuple[Record, ...] = (
    JobStarted(-1, 0.0, "tiny/opt", "u55c-1x", 1, "host", "2026-01-01T00:00:00Z"),
    PhaseStarted(2, 0.1, "12 tensors"),
    Progress(2, 6.0, 50, 100, "bytes", 10.0),
    Progress(2, 6.1, 60, 100, "bytes", 10.0),
    Message(2, 6.2, "odd \x1b[31mname\nnext", "warning"),
    PhaseFinished(2, 7.0),
    PhaseFinished(3, 7.0, skipped=True, reason="nothing changed"),
    JobFinished(-1, 8.0, "u55c-1x"),
)


def _narrated(*records: Record) -> list[str]:
    stream = io.StringIO()
    narrator = PlainNarrator(stream)
    for record in records:
        narrator(record)
    return stream.getvalue().splitlines()


def test_plain_narration_is_headings_and_marked_lines() -> None:
    assert _narrated(*RECORDS) == [
        "** Phase-2 : Convert to JSON and binary **",
        "[Info] 12 tensors",
        "[Info] 50 bytes of 100 bytes (50 %), 10 bytes/s, 5 s left",
        "[Warning] odd \\x1b[31mname next",
        "[Info] Done",
        "[Info] Up to date: nothing changed",
    ]


def test_every_phase_has_a_heading() -> None:
    headings = [heading(phase) for phase in range(len(PHASE_TITLES))]
    assert len(set(headings)) == 5
    assert headings[4] == "** Phase-4 : Instruction generation **"


def test_bars_say_the_same_lines() -> None:
    from rich.console import Console

    stream = io.StringIO()
    narrator = BarNarrator(Console(file=stream, force_terminal=True, width=100, no_color=True))
    for record in RECORDS:
        narrator(record)
    narrator.clear()
    shown = stream.getvalue()
    for line in ("** Phase-2 : Convert to JSON and binary **", "[Info] 12 tensors", "\\x1b[31mname next"):
        assert line in shown
    assert "50 bytes of 100 bytes" in shown


def test_a_job_file_holds_one_record_per_line_and_is_readable_by_all(tmp_path: Path) -> None:
    job = tmp_path / "1.jsonl"
    previous = os.umask(0o022)
    try:
        with Narration(job=job) as narration:
            for record in RECORDS:
                narration(record)
                assert from_line(job.read_text(encoding="utf-8").splitlines()[-1]).event == record.event
    finally:
        os.umask(previous)
    assert stat.S_IMODE(job.stat().st_mode) == 0o644
    assert len(job.read_text(encoding="utf-8").splitlines()) == len(RECORDS)


def test_a_job_file_is_appended_to(tmp_path: Path) -> None:
    job = tmp_path / "1.jsonl"
    for _ in range(2):
        with Narration(job=job) as narration:
            narration(RECORDS[0])
    assert len(job.read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_job_file_on_a_full_disk_is_one_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(CapacityError, match="/dev/full could not be written"), Narration(job=Path("/dev/full")) as told:
        told.begin("tiny/opt", "u55c-1x", "")


def test_events_on_stdout_are_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Narration(events=True) as narration:
        for record in RECORDS:
            narration(record)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["event"] for line in lines] == [record.event for record in RECORDS]


def test_a_failure_is_the_last_record_of_the_job(tmp_path: Path) -> None:
    job = tmp_path / "1.jsonl"
    with pytest.raises(CapacityError), Narration(job=job) as narration:
        narration(PhaseStarted(3, 1.5))
        raise CapacityError("too large")
    last = from_line(job.read_text(encoding="utf-8").splitlines()[-1])
    assert last == PhaseFailed(3, 1.5, "too large", 5)


def test_a_reader_that_went_away_stops_nothing() -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    for listener in (PlainNarrator(Closed()), EventWriter(Closed())):
        for record in RECORDS:
            listener(record)


@pytest.mark.parametrize(
    ("count", "unit", "text"),
    [
        (0, "bytes", "0 bytes"),
        (999, "bytes", "999 bytes"),
        (1500, "bytes", "1.5 kB"),
        (2.6e9, "bytes", "2.6 GB"),
        (12345, "instructions", "12,345 instructions"),
    ],
)
def test_quantities_carry_their_unit(count: float, unit: str, text: str) -> None:
    assert format_quantity(count, unit) == text


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (Progress(4, 6.0, 188, 20_188, "instructions", 663.0), "188 of 20,188 instructions, 663/s, 30 s left"),
        (
            Progress(1, 6.0, 1_250_000_000, 800_500_000_000, "bytes", 118.2e6),
            "1.2 GB of 800.5 GB, 118.2 MB/s, 6762 s left",
        ),
        (Progress(1, 6.0, 1_250_000_000, 0, "bytes", 118.2e6), "1.2 GB, 118.2 MB/s"),
    ],
    ids=["instructions", "bytes", "unknown"],
)
def test_a_bar_fits_80_columns_whole(record: Progress, state: str) -> None:
    from rich.console import Console

    stream = io.StringIO()
    narrator = BarNarrator(Console(file=stream, force_terminal=True, width=80, no_color=True))
    narrator(record)
    narrator.clear()
    assert f"Phase-{record.phase}" in stream.getvalue()
    assert state in stream.getvalue()
