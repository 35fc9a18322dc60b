"""Any keys in any order: nothing ends the app, and Esc leads back to the models."""

from __future__ import annotations

import random

import pytest

from compiler.workspace import ModelFolder
from hyperdex_tui.keys import keys_of
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.screens.models import ModelsScreen
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import settle, until

STEPS = 150
LEAVES = {
    "app": {"quit", "command_palette"},
    "compile": {"start"},
    "machine": {"compare"},
    "models": {"download"},
    "run": {"retry"},
}
"""Actions by scope that end the app or start a child for long; the palette offers the same ones."""

TYPED = ("a", "L", "0", "7", "²", "½", "٣", "漢", "colon", "left_square_bracket", "backspace", "delete", "ctrl+e")


def keys_for(scope: str) -> list[str]:
    """Keys that mean something on a screen, and some that do not."""
    known = [key for each in (scope, scope, "list", "view", "app") for key in keys_of(each)]
    leaving = {name for key in known if key.action in LEAVES.get(key.scope, ()) for name in key.keys.split(",")}
    names = [key.keys.split(",")[0] for key in known]
    return [name for name in (*names, *TYPED) if name not in leaving]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_any_keys_end_nothing(make_app: MakeApp, demo: ModelFolder, seed: int) -> None:
    chance, pressed, app = random.Random(seed), [], make_app()
    async with app.run_test(size=chance.choice([(80, 24), (150, 45), (30, 8)])) as pilot:
        await settle(pilot)
        for _ in range(STEPS):
            scope = str(getattr(app.screen, "scope", "app"))
            is_dialog = not isinstance(app.screen, AppScreen)
            key = "escape" if is_dialog and chance.random() < 0.5 else chance.choice(keys_for(scope))
            pressed.append(f"{scope}: {key}")
            await pilot.press(key)
            assert app.is_running, pressed
        for _ in range(STEPS):
            if isinstance(app.screen, ModelsScreen):
                break
            await pilot.press("escape")
            await pilot.pause(0.05)
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen))
