"""The machine screen: a real build stepped through in its child, and every state in which nothing can be stepped."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from compiler.debug_records import (
    Breakpoint,
    Breakpoints,
    Candidate,
    Counters,
    Hello,
    LmuView,
    Operand,
    Record,
    Stopped,
    Token,
    Tokens,
)
from compiler.debug_wire import to_line
from compiler.workspace import ModelFolder
from hyperdex_tui.app import HyperDexApp
from hyperdex_tui.backend.emulator import Emulator
from hyperdex_tui.messages import OpenMachine
from hyperdex_tui.screens.machine import MachineScreen
from hyperdex_tui.screens.timeline import TimelineScreen
from hyperdex_tui.widgets.machine_listing import MachineListing
from hyperdex_tui.widgets.timeline_tracks import TimelineTracks
from tests.tui.builds import BUILD, MODEL
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, rows, settle, text, until

Size = tuple[int, int]
DEMO = ("hyperdex/demo", "u55c-1x")


async def open_machine(app: HyperDexApp, pilot: Pilot[None], pc: int = -1) -> MachineScreen:
    await settle(pilot)
    app.post_message(OpenMachine(*DEMO, pc))
    await settle(pilot)
    screen = app.screen
    assert isinstance(screen, MachineScreen)
    return screen


WEIGHT = Operand("hbm", "h[0x840] l0.norm", 64, (0.5, 1.25, -3.0), -3.0, 1.25)
ANSWERS: dict[str, Record] = {
    "tokens": Tokens(
        "once upon",
        (5, 6),
        (
            Token(0, 7, 2, 0.62, 0, (Candidate(7, 0.62, " a"), Candidate(8, 0.21, " the"), Candidate(9, 0.05)), " a"),
            Token(1, 9, 3, 0.03, 2, (Candidate(8, 0.5, " time"), Candidate(3, 0.4, "\n")), ""),
        ),
    ),
    "breakpoints": Breakpoints((Breakpoint(1, "layer", "0", 1, (3,)), Breakpoint(4, "nan", "", 0, ()))),
    "device": Stopped(
        "breakpoint", "", (1,), 3, 2, 4321, 5, 2, 2, 1, (0, 5, 6, -1, *[0] * 28), (1, 2),
        (WEIGHT,), (Operand("dst", "v[0]", 64, (1.0, float("nan")), 1.0, 1.0, 1, 2),), ((0, 64), (96, 100)), 68,
    ),
    "lmu": LmuView(
        1, 64, (1.0, float("inf"), float("nan"), -2.5e-9) * 8, (True, True, True, False) * 8,
        (False, True, False, False) * 8, ("norm0 [64, 128)",),
    ),
    "counters": Counters(
        5, 2.5e4, 0.114, 8771.9, 1.9, 3 << 20, 0.31, "memory", (("SMA", 0.8), ("VXE", 0.2)),
        (("VXE", "SMA", 0.5), ("VXE", "hazard", 0.3)), 12.5,
    ),
}  # fmt: skip


def scripted() -> Emulator:
    """A child that always says the same, so that the screen does."""
    hello = Hello(MODEL, BUILD, 23, 2, "float16", 4096, 256, 512, True)
    answers = {do: to_line(record, 777) for do, record in ANSWERS.items()}
    program = f"""
import json, sys
print({to_line(hello)!r}, flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    print({answers!r}[asked["do"]].replace("777", str(asked["request"])), flush=True)
"""
    return Emulator([sys.executable, "-c", program], Path("/nowhere"))


@pytest.mark.parametrize("keys", ["1", "2", "3", "5", "6", "7"])
async def test_views(
    make_app: MakeApp, built: ModelFolder, size: Size, keys: str, text_snapshot: SnapshotAssertion
) -> None:
    app = make_app()
    emulator = scripted()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        app.push_screen(MachineScreen(emulator, built.inst(BUILD), MODEL, BUILD))
        await settle(pilot)
        await press(pilot, keys)
        assert len(rows(app)) == size[1]
        assert text(app) == text_snapshot
        await emulator.close()


async def type_in(pilot: Pilot[None], key: str, words: str) -> None:
    names = {" ": "space", ".": "full_stop", "[": "left_square_bracket", "]": "right_square_bracket", ",": "comma"}
    await pilot.press(key)
    await pilot.pause()
    for char in words:
        await pilot.press(names.get(char, char))
    await pilot.press("enter")
    await settle(pilot)


async def test_no_pane_waits_for_an_emulator_that_runs(make_app: MakeApp, demo: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=(200, 50)) as pilot:
        await open_machine(app, pilot)
        shown = text(app)
        assert "no prompt yet" in shown and "1 device," in shown
        assert "Starting the emulator" not in shown and shown.count("No prompt yet") == 2


async def test_a_text_that_ended_on_the_generate_screen_is_not_called_empty(
    make_app: MakeApp, demo: ModelFolder
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "p", "H", "i", "enter")
        await until(pilot, lambda: "ms/token" in text(app))
        await press(pilot, "ctrl+o")
        await until(pilot, lambda: "the text is complete" in text(app))
        assert "complete; 5 shows its tokens" in text(app) and "''" not in text(app)
        stands = next(row for row in rows(app) if "==|" in row)
        assert stands.startswith("▶") and "hlt" in stands


async def test_stepping_through_a_build(make_app: MakeApp, demo: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_machine(app, pilot)
        assert "no prompt yet" in text(app)
        await press(pilot, "s")
        assert "no prompt yet" in text(app)
        await type_in(pilot, "n", "The capital of")
        await type_in(pilot, "B", "layer 2")
        await press(pilot, "c")
        assert "● breakpoint 1 (layer 2)" in text(app)
        listing = screen.query_one(MachineListing)
        at = listing.cursor
        assert any("●1" in row and "=>" in row for row in rows(app))
        await press(pilot, "s", "s")
        assert listing.cursor == at + 2
        await press(pilot, "o", "3")
        assert "3 lmu]" in text(app) and "v[0]" in text(app)
        await press(pilot, "2")
        assert "r1*" not in text(app) and "r31" in text(app)
        await type_in(pilot, "colon", "cache.0.key[0,0,0]")
        assert "[0,0,0]" in text(app) and "  -" in text(app)
        await press(pilot, "6", "D", "t", "t", "t", "t", "5")
        assert "' Greenholm'" in text(app) and "12 %" in text(app)
        await press(pilot, "c")
        assert "✓ the text is complete" in text(app)
        await press(pilot, "7")
        assert "ms/token" in text(app) and "J/token" in text(app)


@pytest.mark.slow
async def test_a_breakpoint_at_a_line_of_the_listing_and_the_way_to_other_screens(
    make_app: MakeApp, demo: ModelFolder
) -> None:
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "down", "i")
        await type_in(pilot, "colon", "50")
        await press(pilot, "E")
        assert "●1" in text(app)
        await type_in(pilot, "n", "The capital of")
        await press(pilot, "c")
        assert "breakpoint 1 (pc 50)" in text(app)
        await press(pilot, "enter")
        assert "●1" not in text(app)
        await press(pilot, "p", "ctrl+o")
        assert "pc 50" in text(app)


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["machine", "generate"])
async def test_a_screen_can_be_left_while_its_machine_runs(make_app: MakeApp, demo: ModelFolder, scope: str) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "i")
        program = app.screen
        if scope == "machine":
            await press(pilot, "E", "D", "n", *"hello", "enter")
            await pilot.press("c", "i")  # runs, and goes back to the program below
        else:
            await press(pilot, "p")
            await pilot.press(*"hello", "enter")
            app.on_go_back()
        await settle(pilot)
        assert app.screen is program and app.is_running


async def test_a_place_that_does_not_exist_is_said_once_and_the_view_goes_on(
    make_app: MakeApp, demo: ModelFolder
) -> None:
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await open_machine(app, pilot)
        await type_in(pilot, "n", "The owl lives in")
        await type_in(pilot, "colon", "nowhere")
        assert "✗ there is no region 'nowhere'" in text(app) and "io host" in text(app)
        await press(pilot, "s")
        assert "nowhere" not in text(app) and "■ stopped" in text(app) and "io host" in text(app)
        await type_in(pilot, "colon", "cache.0.key[99]")
        await type_in(pilot, "colon", "cache.0.key")
        assert "✗" not in text(app) and "key cache.0.key" in text(app)
        await press(pilot, "c", "1", "s")
        assert "✓ the text is complete" in text(app) and "Nothing moves any more" in text(app)


async def test_the_timeline_of_a_token(make_app: MakeApp, demo: ModelFolder, tmp_path: Path) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_machine(app, pilot)
        await press(pilot, "T")
        assert isinstance(app.screen, TimelineScreen)
        tracks = app.screen.query_one(TimelineTracks)
        await press(pilot, "j", "plus", "n", "n", "right", "right")
        assert tracks.unit == 1
        shown = text(app)
        assert all(unit in shown for unit in ("SMA", "SXE", "VXE", "ESL", "ICP")) and "waits:" in shown
        await type_in(pilot, "w", "")
        saved = list(tmp_path.glob("*.trace.json"))
        assert len(saved) == 1 and saved[0].stat().st_size > 1000
        await press(pilot, "right_square_bracket")
        assert "token 1:" in rows(app)[0]
        await type_in(pilot, "colon", "999999")
        assert "token 1:" in rows(app)[0]


@pytest.mark.slow
async def test_the_childs_death_is_a_message_and_a_prompt_starts_anew(make_app: MakeApp, demo: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_machine(app, pilot)
        await type_in(pilot, "n", "The capital of")
        emulator = app.emulators.of(*DEMO)
        os.kill(emulator.process_id, signal.SIGBUS)
        await until(pilot, lambda: not emulator.is_running)
        await press(pilot, "s")
        assert "✗" in rows(app)[1]
        await type_in(pilot, "n", "The capital of")
        await press(pilot, "s")
        assert "■ stopped" in text(app)


@pytest.mark.parametrize("damage", ["program", "parameters", "folder"])
async def test_a_build_that_cannot_run_is_a_message_in_place(
    make_app: MakeApp, built: ModelFolder, damage: str
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        if damage == "program":
            (built.inst(BUILD) / "inst_1fpga.bin").write_bytes(b"HDEX")
        elif damage == "folder":
            shutil.rmtree(built.path)
        app.post_message(OpenMachine("example/tiny", BUILD))
        await settle(pilot)
        await press(pilot, "s", "T", "escape", "3", "b")
        assert "✗" in rows(app)[1] and "\x1b" not in text(app)
        await press(pilot, "escape")
        assert "Models" in rows(app)[0]


async def test_hostile_text_of_a_child_is_harmless(make_app: MakeApp, built: ModelFolder) -> None:
    from tests.tui.test_hostile import EVIL, assert_harmless

    app = make_app()
    async with app.run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        app.post_message(OpenMachine("example/tiny", BUILD))
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, MachineScreen)
        machine = screen._machine
        operand = Operand(EVIL, EVIL, 1, (1.0,), 0.0, 1.0)
        machine.stopped = Stopped("fault", EVIL, prompt_tokens=1, registers=(0,) * 32, inputs=(operand,))
        machine.tokens = [Token(0, 1, 1, 0.5, 0, (Candidate(1, 0.5, EVIL),), EVIL)]
        machine.breakpoints = (Breakpoint(1, "tensor", EVIL, 1, (3,)),)
        machine.prompt, machine.problem = EVIL, ""
        screen._changed()
        await press(pilot, "6")
        assert_harmless(text(app))


@pytest.mark.slow
async def test_the_comparison_with_transformers_goes_to_the_wrong_instruction(
    make_app: MakeApp, demo: ModelFolder
) -> None:
    from tests.cli.test_reference import damage

    tensor = "model.layers.1.mlp.down_proj.weight"
    damage(demo, DEMO[1], tensor, row=5, col=3)
    app = make_app()
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        screen = await open_machine(app, pilot)
        await press(pilot, "V")
        await until(pilot, lambda: "differs first at pc" in rows(app)[0], 60)
        assert any("▶" in row and "mlp.down_proj.weight" in row and "mm " in row for row in rows(app))
        assert not screen._comparing


async def test_a_comparison_that_cannot_be_made_says_why(make_app: MakeApp, built: ModelFolder) -> None:
    from compiler.errors import HyperDexError
    from hyperdex_tui.backend.verification import compare_with_transformers

    with pytest.raises(HyperDexError, match=r"^no luck$"):
        await compare_with_transformers([sys.executable, "-c", "import sys; sys.exit('hyperdex: error: no luck')"])
    with pytest.raises(HyperDexError, match=r"exit code 0"):
        await compare_with_transformers([sys.executable, "-c", "print([])"])
    program = 'print(\'{"checks": [{"name": "a", "passed": false, "detail": "\\\\u001b[1mx", "pc": 7}]}\')'
    verdict = await compare_with_transformers([sys.executable, "-c", program])
    assert (verdict.passed, verdict.pc, verdict.text) == (False, 7, "a: \\x1b[1mx")


async def test_pages_of_memory(make_app: MakeApp, demo: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_machine(app, pilot)
        await type_in(pilot, "n", "The capital of")
        await press(pilot, "3", "less_than_sign")
        first = text(app)
        assert " v[0] " in first
        await press(pilot, "greater_than_sign")
        assert " v[0] " not in text(app)
        await press(pilot, "less_than_sign")
        assert text(app) == first
        await type_in(pilot, "colon", "cache.0.key[0,254,0]")
        await press(pilot, "greater_than_sign")
        assert "[1," in text(app) and "[0,25" not in text(app)
        for _ in range(60):
            await pilot.press("greater_than_sign")
        await settle(pilot)
        assert "[1,255,0]" in text(app) and "✗" not in text(app)
