"""The key bar: keys that mean something, and messages in their place instead of over what is being read."""

from __future__ import annotations

import pytest

from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets import bars
from hyperdex_tui.widgets.bars import KeyBar
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, rows, settle, text, until


def said(app_screen: object) -> str:
    assert isinstance(app_screen, AppScreen)
    return app_screen.query_one(KeyBar).message


async def test_a_message_takes_the_row_of_the_keys_and_covers_nothing(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        before = rows(app)
        await press(pilot, "x")
        assert rows(app)[:-1] == before[:-1]
        assert rows(app)[-1] == " ! put the cursor on a build to delete it"


async def test_a_long_message_is_shown_whole_and_the_list_gets_its_rows_back(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars, "_reading_s", lambda text: 0.1)
    app = make_app()
    async with app.run_test(size=(60, 24)) as pilot:
        await settle(pilot)
        before = rows(app)
        app.notify("a long story " * 10 + "with an end")
        await pilot.pause()
        assert len([row for row in rows(app) if "long story" in row]) == 3
        assert "with an end" in rows(app)[-1]
        await until(pilot, lambda: rows(app) == before)


async def test_the_newest_message_counts_and_is_never_markup(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.notify("first")
        app.notify("[red]\x1b[2J", severity="error")
        await pilot.pause()
        assert rows(app)[-1] == r" ✗ [red]\x1b[2J"
        assert "first" not in text(app)


async def test_a_message_above_a_question_is_there_when_it_is_answered(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "ctrl+p")
        app.notify("done meanwhile")
        await press(pilot, "escape")
        assert said(app.screen) == "done meanwhile"


async def test_keys_that_mean_nothing_are_not_shown(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        assert "instr" not in rows(app)[-1] and "compile" in rows(app)[-1]
