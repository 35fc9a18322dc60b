"""Every screen at both sizes, as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

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
from compiler.workspace import ModelFolder, Workspace
from hyperdex_tui.app import HyperDexApp
from hyperdex_tui.backend.jobs import job_file
from hyperdex_tui.messages import OpenCompile, OpenRun
from tests.tui.builds import BUILD, MODEL
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, rows, settle, text

Size = tuple[int, int]

TOUR = {
    "models": (),
    "models-filter": ("slash", "t", "i", "n"),
    "models-nothing-matches": ("slash", "x", "y", "z", "enter"),
    "models-add": ("a",),
    "ask-delete": ("j", "x"),
    "copy-cell": ("Y",),
    "marked-rows": ("i", "v", "j", "j"),
    "jobs-empty": ("J",),
    "instructions": ("i", "right_square_bracket", "down", "down"),
    "instructions-folded": ("i", "Z"),
    "instructions-filter": ("i", "f", "r", "m", "s", "enter"),
    "instructions-marked": ("i", *"jjjj", "x", *"jjj", "x"),
    "instructions-searched": ("i", "slash", "m", "m", "enter", "n"),
    "columns": ("i", "C", "space"),
    "memory": ("m", "down", "down"),
    "memory-layers": ("m", "l", "down", "enter"),
    "memory-zoom": ("m", "down", "plus", "plus", "plus"),
    "memory-bytes": ("m", "down", "enter", "right"),
    "channels": ("m", "c"),
    "memory-by-size": ("m", "s"),
    "memory-filter": ("m", "slash", "k", "e", "y"),
    "generate": ("p",),
    "help": ("question_mark",),
}


@pytest.mark.parametrize("keys", TOUR.values(), ids=TOUR.keys())
async def test_screen(
    make_app: MakeApp, built: ModelFolder, size: Size, keys: tuple[str, ...], text_snapshot: SnapshotAssertion
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await press(pilot, *keys)
        assert_fits(app, size)
        assert text(app) == text_snapshot


async def test_first_start(make_app: MakeApp, size: Size, text_snapshot: SnapshotAssertion) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert text(app) == text_snapshot


@pytest.mark.parametrize("key", ["i", "m"])
async def test_a_damaged_build_is_a_message_in_place(
    make_app: MakeApp, built: ModelFolder, size: Size, key: str, text_snapshot: SnapshotAssertion
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        (built.inst(BUILD) / "inst_1fpga.bin").write_bytes(b"HDEX")
        (built.param(BUILD) / "memory_map.json").write_bytes(b"{}")
        await press(pilot, key)
        assert text(app) == text_snapshot
        await press(pilot, "escape")
        assert "Models" in rows(app)[0]


def assert_fits(app: HyperDexApp, size: Size) -> None:
    """Every row is there, and the key bar is the last one."""
    shown = rows(app)
    assert len(shown) == size[1]
    assert shown[0].startswith(" HyperDex")
    assert shown[-1].strip()


JOB: tuple[Record, ...] = (
    JobStarted(-1, 0.0, MODEL, "u55c-2x", 1, "elsewhere", "2026-01-01T00:00:00"),
    PhaseStarted(0, 0.0, "config.json of example/tiny"),
    Message(0, 0.1, "LlamaForCausalLM, 4 layers"),
    PhaseFinished(0, 0.2),
    PhaseStarted(1, 0.2, "to the prefix"),
    PhaseFinished(1, 0.3, True, "using the files placed by hand"),
    PhaseStarted(2, 0.3, "39 tensors"),
    Message(2, 0.4, "model.norm.weight holds 3 values beyond float16, clipped to 65504; " * 2, "warning"),
    Progress(
        2, 12.3, 3 << 30, 4 << 30, "bytes", 256.0 * (1 << 20), SourceRef("m", "model.layers.2.mlp.up_proj.weight")
    ),
    PhaseFinished(2, 16.3),
    PhaseStarted(3, 16.3, "2 devices, 32 channels each"),
    PhaseFinished(3, 17.0),
    PhaseStarted(4, 17.0, "65 nodes"),
    Progress(4, 17.5, 188, 188, "instructions", 376.0),
    PhaseFinished(4, 17.6),
    JobFinished(-1, 17.6, "u55c-2x"),
)
MISSING = "checkpoint lacks 3 tensors: model.norm.weight, lm_head.weight, model.layers.3.mlp.up_proj.weight; "
FAILED = PhaseFailed(2, 12.5, MISSING + "download it again, or place the missing shard into ckpt/", 3)


@pytest.mark.parametrize(
    "records", [JOB, (*JOB[:9], FAILED), (*JOB[:9], PhaseFailed(2, 12.5, "interrupted by SIGTERM", 130)), ()],
    ids=["done", "failed", "cancelled", "starting"],
)  # fmt: skip
async def test_run_screen(
    make_app: MakeApp, prefix: Path, size: Size, records: tuple[Record, ...], text_snapshot: SnapshotAssertion
) -> None:
    job = job_file(prefix, MODEL, "20260101-000000-aa")
    job.path.parent.mkdir(parents=True)
    job.path.write_text("".join(to_line(record) + "\n" for record in records))
    Workspace(prefix).model(MODEL).inst("u55c-2x").mkdir(parents=True)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        app.post_message(OpenRun(MODEL, job.job_id))
        await settle(pilot)
        assert_fits(app, size)
        assert text(app) == text_snapshot


async def test_jobs_screen(make_app: MakeApp, prefix: Path, size: Size, text_snapshot: SnapshotAssertion) -> None:
    for number, records in enumerate((JOB, (*JOB[:9], FAILED), JOB[:8])):
        job = job_file(prefix, MODEL, f"2026010{number + 1}-102030-aa")
        job.path.parent.mkdir(parents=True, exist_ok=True)
        job.path.write_text("".join(to_line(record) + "\n" for record in records))
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await press(pilot, "J")
        assert text(app) == text_snapshot


async def test_compile_screen(make_app: MakeApp, size: Size, text_snapshot: SnapshotAssertion) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        app.post_message(OpenCompile("some/where"))
        await pilot.pause(0.1)
        await pilot.press(
            "4", "down", "right", "down", "right", "down", "5", "1", "2", "down", "right", "down", "space"
        )
        assert_fits(app, size)
        assert "\n".join(rows(app)[:11]) == text_snapshot  # the form; the plan below it is the compiler's


@pytest.mark.parametrize("tiny", [(20, 6), (40, 10), (60, 15)])
async def test_a_tiny_terminal_harms_nothing(make_app: MakeApp, built: ModelFolder, tiny: Size) -> None:
    app = make_app()
    async with app.run_test(size=tiny) as pilot:
        for key in ("i", "m", "c", "p", "J", "question_mark", "slash"):
            await settle(pilot)
            await press(pilot, key)
            assert len(rows(app)) == tiny[1]
            await press(pilot, "escape")


async def test_a_small_terminal_keeps_title_field_and_keys_of_the_compile_form(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(40, 10)) as pilot:
        await settle(pilot)
        app.post_message(OpenCompile("some/where"))
        await settle(pilot)
        labels = ("Devices", "Wiring", "Repeat all")
        for presses, label in zip((0, 4, 4), labels, strict=True):
            await press(pilot, *["down"] * presses)
            shown = rows(app)
            assert "Compile › some/where" in shown[0] and "Enter start" in shown[-1]
            assert next(row for row in shown if row.startswith(" ▶")).startswith(f" ▶ {label}")
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert "Per device" in text(app) and all(label in text(app) for label in labels)


async def test_a_model_named_at_the_start_that_is_not_here_opens_its_compile(prefix: Path) -> None:
    app = HyperDexApp(prefix, "some/where")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await settle(pilot)
        assert "Compile › some/where" in text(app)
