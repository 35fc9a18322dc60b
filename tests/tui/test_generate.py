"""The generate screen: what its fields ask for, what a wrong field says, and the tokens with their rivals."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.widgets import Input

from compiler.debug_records import Candidate, Finished, Hello, Stopped, Token
from compiler.debug_wire import to_line
from compiler.workspace import ModelFolder
from hyperdex_tui.backend.emulator import Emulator
from hyperdex_tui.screens.generate import GenerateScreen
from hyperdex_tui.widgets.token_list import TokenList
from tests.tui.builds import BUILD, MODEL
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import settle, text, until

HELLO = Hello(MODEL, BUILD, 9, 1, "float16", 64, 64, 40, True)
RECORDS = (
    Token(0, 7, 2, 0.62, 0, (Candidate(7, 0.62, " a"), Candidate(8, 0.21, " the"), Candidate(9, 0.05)), " a"),
    Token(1, 9, 3, 0.05, 2, (Candidate(7, 0.9, " time" * 12), Candidate(8, 0.04, "\x1b[31m")), ""),
    Finished(2, " a", "length", 0.5, 1.5),
    Stopped("halted", pc=8, prompt_tokens=2),
)
CHILD = f"""
import json, re, sys
print({to_line(HELLO)!r}, flush=True)
def say(lines, request):
    for line in lines: print(re.sub(r'"request":0', f'"request":{{request}}', line), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "start": open(sys.argv[1], "w").write(line)
    if asked["do"] == "run": say({[to_line(record) for record in RECORDS]!r}, asked["request"])
    else: say([{to_line(Stopped("ready"))!r}], asked["request"])
"""


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """Where the child keeps the request that starts a text."""
    return tmp_path / "asked.json"


def child(asked: Path) -> Emulator:
    return Emulator([sys.executable, "-c", CHILD, str(asked)], Path("/nowhere"))


FIELDS: dict[str, tuple[dict[str, str], dict[str, object]]] = {
    "nothing": ({}, {}),
    "temperature": ({"temperature": "0.8"}, {"sampling": {"temperature": 0.8, "do_sample": True}}),
    "greedy": ({"temperature": "0"}, {}),
    "everything": (
        {"temperature": "0.8", "top_k": "5", "top_p": ".9", "repetition_penalty": "1.2", "seed": "7", "stop": r"\n."},
        {
            "sampling": {
                "temperature": 0.8, "top_k": 5, "top_p": 0.9, "repetition_penalty": 1.2, "seed": 7, "do_sample": True,
            },
            "stop": ["\n."],
        },
    ),
    "a penalty draws nothing": ({"repetition_penalty": "1.2"}, {"sampling": {"repetition_penalty": 1.2}}),
}  # fmt: skip


@pytest.mark.parametrize(("typed", "wanted"), FIELDS.values(), ids=FIELDS)
async def test_fields_become_the_request(
    make_app: MakeApp, built: ModelFolder, asked: Path, typed: dict[str, str], wanted: dict[str, object]
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        emulator = child(asked)
        screen = GenerateScreen(emulator, MODEL, BUILD)
        app.push_screen(screen)
        await settle(pilot)
        for name, value in {"prompt": "hi", **typed}.items():
            screen.query_one(f"#{name}", Input).value = value
        await pilot.press("enter")
        await until(pilot, lambda: "✓ done" in text(app))
        request = json.loads(asked.read_text())
        assert {"do": "start", "prompt": "hi", "max_new_tokens": 32, **wanted} == {
            name: value for name, value in request.items() if name != "request"
        }
        await emulator.close()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("temperature", "warm", "temp: 'warm' is no number"),
        ("top_k", "1.5", "top-k: '1.5' is no whole number"),
        ("count", "0", "'0' is not a number from 1"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_runs(
    make_app: MakeApp, built: ModelFolder, asked: Path, name: str, value: str, said: str
) -> None:
    app = make_app()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await settle(pilot)
        emulator = child(asked)
        screen = GenerateScreen(emulator, MODEL, BUILD)
        app.push_screen(screen)
        await settle(pilot)
        screen.query_one("#prompt", Input).value = "hi"
        screen.query_one(f"#{name}", Input).value = value
        await pilot.press("enter")
        await settle(pilot)
        assert said in text(app) and screen.idle and not asked.exists()
        await emulator.close()


async def test_tokens_stand_beside_their_rivals(
    make_app: MakeApp, built: ModelFolder, asked: Path, size: tuple[int, int], text_snapshot: SnapshotAssertion
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        emulator = child(asked)
        screen = GenerateScreen(emulator, MODEL, BUILD)
        app.push_screen(screen)
        await settle(pilot)
        screen.query_one("#prompt", Input).value = "once upon"
        await pilot.press("enter")
        await until(pilot, lambda: "✓ done" in text(app))
        await settle(pilot)
        timeless = re.sub(r"[\d.]+ ms/token, first after [\d.]+ s", "? ms/token, first after ? s", text(app))
        assert timeless == text_snapshot
        assert screen.query_one(TokenList).cells(0)[3:6] == (" a", 0.62, 0)
        await emulator.close()
