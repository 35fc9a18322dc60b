"""The child beside the app: it answers in order, survives prompts, and its death is a message, never a wait."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from compiler.debug_records import Done, Token
from compiler.errors import HyperDexError
from compiler.workspace import ModelFolder
from hyperdex_tui.backend.emulator import Emulator, EmulatorGone, Emulators, debug_command
from hyperdex_tui.screens.generate import GenerateScreen
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, settle, text, until

HELLO = (
    '{"version":1,"event":"hello","request":0,"model_id":"a/b","build":"x","instructions":9,"devices":1,"dtype":"float16",'
    '"lmu_elements":64,"max_length":64,"vocabulary":40,"has_tokenizer":true}'
)
PRELUDE = f"""
import json, os, sys, time
def say(event, request, **fields):
    print(json.dumps(dict(version=1, event=event, request=request, **fields)), flush=True)
def token(request, index, text):
    say("token", request, index=index, token_id=5, position=1, probability=0.5, rank=0, candidates=[], text=text)
print({HELLO!r}, flush=True)
"""
ECHO = (
    PRELUDE
    + """
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "die": sys.exit("hyperdex: error: out of luck \\x1b[0m")
    if asked["do"] == "crash": os.kill(os.getpid(), 11)
    if asked["do"] == "refuse": say("failed", asked["request"], error="no such thing", exit_code=2)
    elif asked["do"] == "run":
        print("a library says hello")
        for index in range(3):
            token(asked["request"], index, "x")
        say("done", asked["request"])
    else: say("done", asked["request"], detail=str(os.getpid()))
"""
)


def child(program: str) -> Emulator:
    return Emulator([sys.executable, "-c", program], Path("/nowhere"))


@pytest.fixture
async def echo() -> AsyncIterator[Emulator]:
    emulator = child(ECHO)
    yield emulator
    await emulator.close()


async def test_one_child_answers_every_request(echo: Emulator) -> None:
    first, second = await asyncio.gather(echo.ask("pid"), echo.ask("pid"))
    assert first == second == await echo.ask("pid")
    assert first == Done(str(echo.process_id))


async def test_records_come_in_order_and_foreign_lines_are_passed_over(echo: Emulator) -> None:
    async with aclosing(echo.stream("run")) as records:
        found = [record async for record in records]
    assert [type(each) for each in found] == [Token, Token, Token, Done]
    assert [each.index for each in found if isinstance(each, Token)] == [0, 1, 2]


async def test_a_refusal_is_an_error_and_the_child_goes_on(echo: Emulator) -> None:
    await echo.start()
    before = echo.process_id
    with pytest.raises(HyperDexError, match=r"^no such thing$"):
        await echo.ask("refuse")
    assert await echo.ask("pid") == Done(str(before))


@pytest.mark.parametrize(("how", "says"), [("die", r"^out of luck \\x1b\[0m"), ("crash", "ended by SIGSEGV")])
async def test_a_child_that_dies_is_told_and_started_anew(echo: Emulator, how: str, says: str) -> None:
    first = await echo.ask("pid")
    with pytest.raises(EmulatorGone, match=says):
        await echo.ask(how)
    assert not echo.is_running
    assert await echo.ask("pid") != first


async def test_a_child_that_never_says_hello_is_an_error() -> None:
    emulator = child("import sys; sys.exit('hyperdex: error: the build is damaged')")
    for _ in range(2):
        with pytest.raises(EmulatorGone, match=r"^the build is damaged"):
            await emulator.start()


async def test_another_build_in_its_place_starts_another_child(tmp_path: Path) -> None:
    watched = tmp_path / "manifest.json"
    watched.write_text("one")
    emulator = Emulator([sys.executable, "-c", ECHO], watched)
    first = await emulator.ask("pid")
    assert await emulator.ask("pid") == first
    watched.unlink()
    watched.write_text("another")
    assert await emulator.ask("pid") != first
    await emulator.close()


async def test_closing_ends_a_child_that_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperdex_tui.backend.emulator.STOP_S", 0.2)
    emulator = child(PRELUDE + "time.sleep(1000)")
    await emulator.start()
    process_id = emulator.process_id
    await emulator.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


async def test_leaving_while_it_starts_makes_no_second_child() -> None:
    emulator = child("import time; time.sleep(0.3)\n" + ECHO)
    task = asyncio.create_task(emulator.start())
    await asyncio.sleep(0.1)
    task.cancel()
    started = emulator.process_id
    await emulator.start()
    assert emulator.process_id == started
    await emulator.close()


async def test_only_one_build_is_held_open(tmp_path: Path) -> None:
    emulators = Emulators(tmp_path)
    first = emulators.of("a/b", "u55c-1x")
    assert emulators.of("a/b", "u55c-1x") is first
    assert emulators.of("a/b", "u55c-2x") is not first
    await emulators.close()


def test_the_compiler_knows_every_option_of_the_command(tmp_path: Path) -> None:
    from compiler.cli.debug import command

    known = {name for parameter in command.params for name in parameter.opts}
    given = {word for word in debug_command(tmp_path, "a/b", "u55c-1x") if word.startswith("--")} - {"--"}
    assert given <= known


# the generate screen

SIZE = (100, 30)


@pytest.mark.slow
async def test_the_second_prompt_finds_the_build_open_and_a_killed_child_is_a_message(
    make_app: MakeApp, demo: ModelFolder
) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "p")
        screen = app.screen
        assert isinstance(screen, GenerateScreen)
        emulator = app.emulators.of("hyperdex/demo", "u55c-1x")
        await pilot.press(*"2", "3", "space", "plus", "space", "4", "5", "space", "equals_sign", "enter")
        await until(pilot, lambda: screen.idle and "✓ done" in text(app), 60)
        assert "23 + 45 = 68." in text(app)
        first = emulator.process_id
        await pilot.press("enter")
        await until(pilot, lambda: screen.idle and text(app).count("68.") == 2, 60)
        assert emulator.process_id == first
        os.kill(first, signal.SIGKILL)
        await until(pilot, lambda: not emulator.is_running)
        await pilot.press("enter")
        await until(pilot, lambda: screen.idle and text(app).count("68.") == 3, 60)
        second = emulator.process_id
        assert second != first
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


async def test_a_stopped_run_keeps_what_was_said(make_app: MakeApp, built: ModelFolder) -> None:
    slow = (
        PRELUDE
        + """
import threading
stop = threading.Event()
def run(number):
    for index in range(10000):
        if stop.is_set(): break
        token(number, index, f" w{index}")
        time.sleep(0.02)
    say("stopped", number, reason="interrupted")
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "interrupt": stop.set()
    elif asked["do"] == "start": say("stopped", asked["request"], reason="ready")
    else: threading.Thread(target=run, args=(asked["request"],)).start()
"""
    )
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        emulator = child(slow)
        screen = GenerateScreen(emulator, "example/tiny", "u55c-1x")
        app.push_screen(screen)
        await settle(pilot)
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: " w3" in text(app))
        await pilot.press("escape")
        await until(pilot, lambda: screen.idle)
        assert "■ stopped" in text(app) and "hi w0 w1" in text(app)
        assert app.screen is screen and emulator.is_running
        await emulator.close()
