"""Text from outside reaches the screen escaped, and never as markup."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from compiler.artifacts.manifest import Manifest
from compiler.artifacts.writer import write_inst_build
from compiler.debug_info import DebugInfo, Node
from compiler.events import JobStarted, Message, PhaseFailed, PhaseStarted, to_line
from compiler.isa.encode import encode_program
from compiler.source import SourceRef
from compiler.workspace import ModelFolder
from hyperdex_tui.backend.jobs import job_file
from hyperdex_tui.crash import crash_report
from hyperdex_tui.messages import OpenRun
from hyperdex_tui.screens.generate import GenerateScreen
from hyperdex_tui.widgets.transcript import Transcript
from tests.tui.builds import BUILD, MODEL, make_program
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, settle, text

EVIL = "\x1b]0;owned\x07[red]bold[/red]\u202egnp.exe\x9b31m[@click=app.quit]x[/]\u200b"
SIZE = (120, 30)


def assert_harmless(shown: str) -> None:
    """Nothing a terminal would act on, and the markup stands there as text."""
    bad = {char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn") and char != "\n"}
    assert not bad, [hex(ord(char)) for char in bad]
    assert "[red]" in shown, shown


async def test_tensor_names_in_a_listing(make_app: MakeApp, built: ModelFolder) -> None:
    _, debug = make_program()
    nodes = tuple(Node(EVIL, EVIL, SourceRef(EVIL, EVIL, node.source.layer)) for node in debug.nodes)
    evil = replace(debug, nodes=nodes, regions=tuple(EVIL if name else "" for name in debug.regions))
    write_program(built, evil)
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "i", "down", "down")
        assert_harmless(text(app))


async def test_a_config_and_its_architecture(make_app: MakeApp, built: ModelFolder) -> None:
    (built.ckpt / "config.json").write_text(json.dumps({"architectures": [EVIL]}))
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert_harmless(text(app))


async def test_messages_of_a_job(make_app: MakeApp, prefix: Path) -> None:
    job = job_file(prefix, MODEL, "20260101-000000-aa")
    job.path.parent.mkdir(parents=True)
    records = (
        JobStarted(-1, 0.0, EVIL, EVIL, 1, EVIL, ""),
        PhaseStarted(0, 0.0, EVIL),
        Message(0, 0.1, EVIL, "warning", SourceRef(EVIL, EVIL)),
        PhaseFailed(0, 0.2, EVIL, 3),
    )
    job.path.write_text("".join(to_line(record) + "\n" for record in records))
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.post_message(OpenRun(MODEL, job.job_id))
        await settle(pilot)
        assert_harmless(text(app))
        await press(pilot, "escape", "J")
        assert_harmless(text(app))


async def test_tokens_of_a_model(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "p")
        assert isinstance(app.screen, GenerateScreen)
        transcript = app.screen.query_one(Transcript)
        transcript.begin(EVIL)
        transcript.add(EVIL)
        await settle(pilot)
        assert_harmless(text(app))


@pytest.mark.parametrize("key", ["slash", "f", "colon"])
async def test_what_the_user_typed_is_no_markup(make_app: MakeApp, built: ModelFolder, key: str) -> None:
    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "i", key)
        for char in "[red]x":
            await pilot.press({"[": "left_square_bracket", "]": "right_square_bracket"}.get(char, char))
        await press(pilot, "enter")
        assert_harmless(text(app))


def test_a_crash_shows_one_line_without_local_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPERDEX_DEBUG", raising=False)

    def fail() -> None:
        token = "".join(reversed("terces_fh"))
        raise ValueError(f"broken after {len(token)} \x1b[31m [red]")

    for debug in ("0", "1"):
        monkeypatch.setenv("HYPERDEX_DEBUG", debug)
        console = Console(width=400, force_terminal=False, color_system=None, file=None)
        try:
            fail()
        except ValueError as error:
            with console.capture() as capture:
                console.print(crash_report(error))
        shown = capture.get()
        assert "hf_" + "secret" not in shown and "\x1b" not in shown
        assert "ValueError: broken after 9" in shown
        assert (shown.count("\n") == 1) == (debug == "0")


async def test_a_bug_ends_the_app_with_code_70(make_app: MakeApp) -> None:
    app = make_app()

    def fail() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        async with app.run_test(size=SIZE) as pilot:
            app.call_later(fail)
            await pilot.pause(0.2)
    assert app.return_code == 70


def write_program(folder: ModelFolder, debug: DebugInfo) -> None:
    """Replace the program of the build, with other debug information."""
    inst = folder.inst(BUILD)
    manifest = Manifest.from_json((inst / "manifest.json").read_bytes(), "inst")
    write_inst_build(inst, replace(manifest, files=()), encode_program(make_program()[0]), (), debug)
