"""The real thing: the demo compiled by a child of the app, followed, cancelled, and run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.events import JobFinished, JobStarted, PhaseFinished, PhaseStarted, Progress, to_line
from compiler.workspace import ModelFolder
from hyperdex_tui.backend.fit import add_estimates, plan_fit
from hyperdex_tui.backend.jobs import JobFile, JobSpec, Launcher, job_file
from hyperdex_tui.messages import OpenCompile, OpenRun
from hyperdex_tui.screens.generate import GenerateScreen
from hyperdex_tui.screens.instructions import InstructionsScreen
from hyperdex_tui.screens.run import RunScreen
from hyperdex_tui.widgets.form import Form
from tests.tui.builds import MODEL
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, settle, text, until

SIZE = (100, 30)


@pytest.mark.slow
async def test_the_demo_from_the_first_screen_to_its_words(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "c")
        await until(pilot, lambda: "✓ fits" in text(app))
        await press(pilot, "enter")
        screen = app.screen
        assert isinstance(screen, RunScreen)
        await until(pilot, lambda: screen.progress.ended, 60)
        assert screen.progress.finished == "u55c-1x", screen.progress.error
        assert app.launcher.exit_code(screen.job) in (0, None)
        await press(pilot, "i")
        assert isinstance(app.screen, InstructionsScreen)
        assert "layer 0" in text(app) and "rd.embed" in text(app)
        await press(pilot, "p")
        assert isinstance(app.screen, GenerateScreen)
        await pilot.press(*"2", "3", "space", "plus", "space", "4", "5", "space", "equals_sign")
        await pilot.press("enter")
        generate = app.screen
        await until(pilot, lambda: generate.idle, 60)
        assert "23 + 45 = 68." in text(app)
        assert "ms/token" in text(app)
        await until(pilot, lambda: app.launcher.exit_code(screen.job) is not None)


def write_job(path: Path, *records: JobStarted | PhaseStarted | Progress | PhaseFinished | JobFinished) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("".join(to_line(record) + "\n" for record in records))


async def test_a_job_started_elsewhere_is_followed_live(make_app: MakeApp, prefix: Path) -> None:
    job = job_file(prefix, MODEL, "20260101-000000-aa")
    write_job(job.path, JobStarted(-1, 0.0, MODEL, "u55c-1x", os.getpid(), "elsewhere", ""), PhaseStarted(2, 0.0))
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.post_message(OpenRun(MODEL, job.job_id))
        await settle(pilot)
        assert "▶ running" in text(app)
        write_job(job.path, Progress(2, 2.0, 1 << 20, 4 << 20, "bytes", float(1 << 19)))
        await until(pilot, lambda: "25 %" in text(app))
        assert "6.0 s left" in text(app) and "524.3 kB/s" in text(app)
        write_job(job.path, PhaseFinished(2, 8.0), JobFinished(-1, 8.1, "u55c-1x"))
        await until(pilot, lambda: "✓ compiled u55c-1x" in text(app))


async def test_a_child_that_dies_without_a_word_is_a_failure_not_a_wait(make_app: MakeApp, prefix: Path) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        job = launch(app.launcher, "import sys; sys.exit('no space left on the moon')")
        app.post_message(OpenRun(MODEL, job.job_id))
        await until(pilot, lambda: "✗ failed" in text(app))
        assert "no space left on the moon" in text(app)


async def test_cancel_asks_and_sends_sigterm(make_app: MakeApp, prefix: Path) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        job = launch(app.launcher, "import time; time.sleep(60)")
        app.post_message(OpenRun(MODEL, job.job_id))
        await settle(pilot)
        await press(pilot, "x", "n")
        assert app.launcher.exit_code(job) is None
        await press(pilot, "x", "y")
        await until(pilot, lambda: app.launcher.exit_code(job) is not None)
        assert app.launcher.exit_code(job) == -signal.SIGTERM


async def test_quitting_says_that_a_compile_goes_on(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        job = launch(app.launcher, "import time; time.sleep(60)")
        try:
            await pilot.press("q")
            await pilot.pause(0.2)
            assert "1 compile goes on" in str(app._exit_renderables)
            assert app.launcher.exit_code(job) is None
        finally:
            os.kill(app.launcher.pid(job), signal.SIGKILL)
            await until(pilot, lambda: app.launcher.exit_code(job) is not None)


def launch(launcher: Launcher, program: str) -> JobFile:
    """A child of the launcher that runs other code than the compiler."""
    return launcher.launch(MODEL, lambda _file: [sys.executable, "-c", program])


@pytest.mark.parametrize("max_length", [0, 64])
def test_the_plan_of_the_demo_adds_up(prefix: Path, max_length: int) -> None:
    plan = plan_fit(prefix, JobSpec("hyperdex/demo", max_length=max_length), (1, 2, 4))
    assert [row.num_devices for row in plan.rows] == [1, 2, 4] and plan.smallest_fit == 1
    assert all(row.fits and row.total_bytes > row.weight_bytes > 0 for row in plan.rows)
    weights = [row.weight_bytes for row in plan.rows]
    assert weights == sorted(weights, reverse=True)


def test_a_model_that_is_not_here_yet_is_no_problem(prefix: Path) -> None:
    plan = plan_fit(prefix, JobSpec("some/where"), (1,))
    assert not plan.rows and not plan.is_problem and "hub" in plan.note


def test_a_model_nobody_supports_is_said_once(prefix: Path) -> None:
    path = prefix / "some" / "where" / "ckpt" / "config.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"architectures": ["NoSuchForCausalLM"], "model_type": "nosuch"}')
    plan = plan_fit(prefix, JobSpec("some/where"), (1, 2, 4))
    assert plan.is_problem and not plan.rows and "NoSuch" in plan.note


async def test_a_model_at_work_says_so_until_it_is_done(make_app: MakeApp, built: ModelFolder) -> None:
    job = job_file(built.prefix, MODEL, "20260101-000000-aa")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "compiler"])
    try:
        started = JobStarted(-1, 0.0, MODEL, "u55c-1x", child.pid, socket.gethostname(), "")
        write_job(job.path, started, PhaseStarted(2, 0.0))
        app = make_app()
        async with app.run_test(size=SIZE) as pilot:
            await settle(pilot)
            assert "▶ at work" in text(app)
            await press(pilot, "enter")
            assert isinstance(app.screen, RunScreen)
            await press(pilot, "escape")
            write_job(job.path, JobFinished(-1, 8.1, "u55c-1x"))
            await until(pilot, lambda: "▶ at work" not in text(app))
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("counts", [(1, 2, 4)])
async def test_estimates_are_added_to_the_plan(prefix: Path, counts: tuple[int, ...]) -> None:
    spec = JobSpec("hyperdex/demo")
    plan = plan_fit(prefix, spec, counts)
    estimated = await add_estimates(plan, prefix, spec, counts)
    assert [row.total_bytes for row in estimated.rows] == [row.total_bytes for row in plan.rows]
    assert all(row.ms_per_token is not None and row.ms_per_token > 0 for row in estimated.rows)
    assert estimated.tokens == 256  # all that the model's positions allow


async def test_devices_that_cannot_be_wired_are_a_note_and_harm_no_other_row(prefix: Path) -> None:
    spec = JobSpec("hyperdex/demo", topology="2-lines", chunks=False)
    plan = plan_fit(prefix, spec, (1, 4, 8))
    assert ["cannot be wired" in row.note for row in plan.rows] == [False, False, True]
    estimated = await add_estimates(plan, prefix, spec, (1, 4, 8))
    assert [row.ms_per_token is None for row in estimated.rows] == [False, False, True]


async def test_every_choice_says_what_it_changes(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.post_message(OpenCompile("hyperdex/demo", "u55c", 2))
        await until(pilot, lambda: "ms/token, " in text(app))
        assert "the last change" not in text(app)
        await pilot.press("up", "up", "up", "space")
        await until(pilot, lambda: "the last change: +" in text(app))
        await pilot.press("up", "up", "right", "right")
        await until(pilot, lambda: "✗ 8 devices cannot be wired as 2-lines" in text(app))
        await until(pilot, lambda: "8 devices cannot" in text(app) and "the last change: " in text(app))
        await pilot.press("up", "up", "up", "up", "8")
        await until(pilot, lambda: text(app).count("8 devices cannot be wired") == 2)
        await settle(pilot)


async def test_digits_of_any_script_are_typed_and_what_only_looks_like_one_is_not(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.post_message(OpenCompile(MODEL))
        await settle(pilot)
        form = app.screen.query_one(Form)
        await pilot.press("²", "½", "①")
        assert form.values["num_devices"] == 1
        await pilot.press("٣", "2", "²")
        assert form.values["num_devices"] == 32


async def test_without_config_and_hub_the_note_says_why(prefix: Path) -> None:
    spec = JobSpec("some/where")
    plan = await add_estimates(plan_fit(prefix, spec, (1,)), prefix, spec, (1,))
    assert not plan.rows and not plan.is_problem and plan.note.startswith("no config.json here; ")
