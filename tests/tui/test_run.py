"""A job on screen: rate over time, a log that can be narrowed, once more with its own options."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.errors import ArtifactError
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
from compiler.workspace import ModelFolder
from hyperdex_tui.app import HyperDexApp
from hyperdex_tui.backend.fit import FitRow
from hyperdex_tui.backend.job_options import checked_options
from hyperdex_tui.backend.jobs import job_file
from hyperdex_tui.backend.progress import LOG_LIMIT, JobProgress
from hyperdex_tui.messages import OpenCompile, OpenRun
from hyperdex_tui.screens import run
from hyperdex_tui.screens.compile import CompileScreen
from hyperdex_tui.screens.run import RunScreen
from hyperdex_tui.widgets.log_list import LogList
from hyperdex_tui.widgets.phases import sparkline
from hyperdex_tui.widgets.run_headline import ending
from hyperdex_tui.widgets.share_bar import share_lines
from tests.tui.builds import MODEL
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, settle, text, until

SIZE = (80, 24)
STARTED = JobStarted(-1, 0.0, MODEL, "u55c-2x", 1, "elsewhere", "", "--num-device 2 --no-fusion")
LOG: tuple[Record, ...] = (
    STARTED,
    PhaseStarted(2, 0.0, "39 tensors"),
    Message(2, 0.1, "plain words"),
    Message(2, 0.2, "a value clipped", "warning"),
)


def write(prefix: Path, *records: Record) -> str:
    job = job_file(prefix, MODEL, "20260101-000000-aa")
    job.path.parent.mkdir(parents=True, exist_ok=True)
    job.path.write_text("".join(to_line(record) + "\n" for record in records))
    return job.job_id


def test_samples_are_rates_of_short_intervals() -> None:
    records = [PhaseStarted(2, 1.0), *(Progress(2, 1.0 + i / 16, i * 50, 1000, "bytes", 0.0) for i in range(1, 17))]
    progress = JobProgress()
    for record in records:
        progress.add(record)
    samples = progress.phases[2].samples
    assert samples == [800.0] * 4


def test_a_sparkline_goes_from_nothing_to_the_highest() -> None:
    assert sparkline([0, 1, 2, 4], 4) == "▁▃▄█" or sparkline([0, 1, 2, 4], 4) == "▁▃▅█"
    assert sparkline([0, 0], 0) == "▁▁"


async def test_the_log_is_narrowed_by_level_and_by_text(make_app: MakeApp, prefix: Path) -> None:
    job_id = write(prefix, *LOG)
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.post_message(OpenRun(MODEL, job_id))
        await settle(pilot)
        listing = app.screen.query_one(LogList)
        assert listing.row_count() == 3
        await press(pilot, "L")
        assert listing.row_count() == 2 and "only phases and problems" in text(app)
        await press(pilot, "L")
        assert [listing.cells(row)[3] for row in range(listing.row_count())] == ["a value clipped"]
        await press(pilot, "escape")
        assert listing.row_count() == 3
        await press(pilot, "slash", *"words")
        assert listing.row_count() == 1
        await press(pilot, "enter", "escape")
        assert isinstance(app.screen, RunScreen) and listing.row_count() == 3


async def test_a_narrowed_log_keeps_up_when_old_lines_are_dropped(make_app: MakeApp, prefix: Path) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.post_message(OpenRun(MODEL, write(prefix, *LOG)))
        await settle(pilot)
        progress, listing = JobProgress(), app.screen.query_one(LogList)
        listing.narrow(progress, "everything", "odd")
        for number in range(LOG_LIMIT + 5000):
            progress.add(Message(2, float(number), f"line {number} {'odd' if number % 2 else 'even'}"))
            if number % 777 == 0:
                listing.show(progress)
        listing.show(progress)
        texts = [listing.cells(row)[3] for row in range(listing.row_count())]
        assert texts == [f"line {number} odd" for number in range(1, LOG_LIMIT + 5000, 2)]


async def test_once_more_takes_the_jobs_own_options(make_app: MakeApp, prefix: Path) -> None:
    started = JobStarted(-1, 0.0, "hyperdex/demo", "u55c-2x", 1, "elsewhere", "", "--num-device 2 --no-fusion")
    job = job_file(prefix, "hyperdex/demo", "20260101-000000-aa")
    job.path.parent.mkdir(parents=True)
    records = (started, PhaseFailed(2, 1.0, "interrupted by SIGTERM", 130))
    job.path.write_text("".join(to_line(record) + "\n" for record in records))
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.post_message(OpenRun("hyperdex/demo", job.job_id))
        await settle(pilot)
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.job.job_id != job.job_id)
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.progress.ended, 60)
        assert isinstance(app.screen, RunScreen)
        again = app.screen.progress
        assert again.build == "u55c-2x", text(app)
        assert again.started is not None and again.started.options == started.options
        assert "made checkpoint" in text(app) or "program" in text(app)
    manifest = ModelFolder(prefix, "hyperdex/demo").inst("u55c-2x") / "manifest.json"
    assert "fuse" not in " ".join(json.loads(manifest.read_text())["passes"])


@pytest.mark.parametrize(
    "options",
    ["--prefix /etc", "--job /etc/passwd", "--target", "--target --job", "rm -rf", "--target '../x y'", "'", "-h"],
)
def test_options_from_anybody_start_nothing_strange(options: str) -> None:
    with pytest.raises(ArtifactError):
        checked_options(options)


def test_harmless_options_pass_as_they_are() -> None:
    words = ("--num-device", "2", "--no-fusion", "--revision", "refs/pr/1", "--no-pass", "overlap")
    assert checked_options(" ".join(words)) == words


async def test_a_download_has_no_build_to_look_at(make_app: MakeApp, prefix: Path) -> None:
    started = JobStarted(-1, 0.0, MODEL, "", 1, "elsewhere", "")
    job_id = write(prefix, started, PhaseStarted(1, 0.0), PhaseFinished(1, 1.0), JobFinished(-1, 1.0, ""))
    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        app.post_message(OpenRun(MODEL, job_id))
        await settle(pilot)
        assert "✓ downloaded" in text(app)
        await press(pilot, "i")
        assert isinstance(app.screen, RunScreen) and "no build yet" in text(app)
        await press(pilot, "c")
        assert isinstance(app.screen, CompileScreen)


async def test_a_build_that_was_deleted_since_is_offered_for_nothing_but_another_compile(
    make_app: MakeApp, prefix: Path
) -> None:
    job_id = write(prefix, STARTED, PhaseFinished(1, 1.0), JobFinished(-1, 1.0, "u55c-2x"))
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.post_message(OpenRun(MODEL, job_id))
        await settle(pilot)
        assert "it was deleted since" in text(app) and " i instr" not in text(app)
        await press(pilot, "i")
        assert isinstance(app.screen, RunScreen) and "R compiles it again" in text(app)


@pytest.mark.parametrize("content", ["", "no event of ours\n"])
async def test_a_job_that_never_says_who_it_is_is_not_waited_for(
    make_app: MakeApp, prefix: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(run, "STARTING_S", 0.1)
    monkeypatch.setattr(run, "_LIFE_CHECK_S", 0.1)
    job = job_file(prefix, MODEL, "20260101-000000-aa")
    job.path.parent.mkdir(parents=True)
    job.path.write_text(content)
    os.utime(job.path, (1, 1))
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "J")
        assert "damaged" in text(app)
        await press(pilot, "enter")
        await until(pilot, lambda: "it is empty or damaged" in text(app))


@pytest.mark.parametrize(
    ("code", "words"),
    [(3, "exit code 3"), (-9, "SIGKILL, as from"), (-15, "SIGTERM"), (-99, "signal 99"), (None, "gone")],
)
def test_an_ending_without_words_is_named(code: int | None, words: str) -> None:
    assert words in ending(code)


def test_the_bar_of_a_device_tells_its_parts_without_colour() -> None:
    def bar(row: FitRow) -> str:
        return "".join(part for part, _ in share_lines(row, 40)[0])

    assert bar(FitRow(1, 50, 25, 75, 100)) == "W" * 20 + "K" * 10 + "·" * 10
    over = bar(FitRow(1, 150, 50, 200, 100))
    assert len(over) == 40 and over.endswith("!" * 20) and over.startswith("W" * 20)
    assert bar(FitRow(1, 1, 0, 1, 10**12)) == "W" + "·" * 39


def test_the_legend_of_the_bar_leaves_its_share_out_before_it_is_cut() -> None:
    row = FitRow(1, 378_900, 131_100, 514_000, 17_200_000_000)
    legends = {width: "".join(part for part, _ in share_lines(row, width)[1]) for width in (78, 200)}
    assert legends[78].endswith("of 17.2 GB") and len(legends[78]) <= 78
    assert legends[200] == f"{legends[78]}, <0.1 %"


async def test_cards_of_this_machine_set_the_number_of_devices(prefix: Path, tmp_path: Path) -> None:
    for address in ("0000:01:00.0", "0000:01:00.1", "0000:02:00.0"):
        (tmp_path / "pci" / address).mkdir(parents=True)
        (tmp_path / "pci" / address / "vendor").write_text("0x10ee\n")
        (tmp_path / "pci" / address / "device").write_text("0x505c\n")
    app = HyperDexApp(prefix, state_file=tmp_path / "state.json", pci=tmp_path / "pci")
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.post_message(OpenCompile("hyperdex/demo"))
        await settle(pilot)
        assert isinstance(app.screen, CompileScreen)
        assert app.screen.spec.num_devices == 2 and "2 cards here (10ee)" in text(app)


async def test_a_compile_is_stopped_from_the_list_of_jobs_after_asking(make_app: MakeApp, prefix: Path) -> None:
    words = [sys.executable, "-c", "import time; time.sleep(60)", "compiler"]
    with subprocess.Popen(words) as process:
        host = socket.gethostname()
        write(prefix, JobStarted(-1, 0.0, MODEL, "u55c-2x", process.pid, host, "", ""), *LOG[1:])
        app = make_app()
        async with app.run_test(size=SIZE) as pilot:
            await settle(pilot)
            await press(pilot, "J")
            await until(pilot, lambda: "running" in text(app))
            await press(pilot, "x")
            assert f"Stop compiling {MODEL}?" in text(app)
            await press(pilot, "n")
            assert process.poll() is None
            await press(pilot, "x", "y")
            assert process.wait(10) == -signal.SIGTERM
            await press(pilot, "r")
            assert "died" in text(app)
            await press(pilot, "x")
            assert "Stop compiling" not in text(app)
