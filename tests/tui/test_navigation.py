"""What keys do: one step back everywhere, links both ways, filters, folds, themes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from compiler.workspace import ModelFolder
from hyperdex_tui.screens.instructions import InstructionsScreen
from hyperdex_tui.screens.memory import MemoryScreen
from hyperdex_tui.screens.models import ModelsScreen
from hyperdex_tui.screens.program_search import ProgramSearch
from hyperdex_tui.themes import THEMES
from hyperdex_tui.widgets.instruction_list import InstructionList
from hyperdex_tui.widgets.region_list import RegionList
from hyperdex_tui.widgets.row_list import RowList
from tests.tui.builds import make_model
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, rows, settle, text, until

SIZE = (80, 24)


@pytest.mark.parametrize("key", ["i", "m", "p", "c", "J", "question_mark", "a", "slash"])
async def test_escape_leads_back_to_the_models(make_app: MakeApp, built: ModelFolder, key: str) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        before = text(app)
        await press(pilot, key)
        assert text(app) != before
        await press(pilot, "escape")
        assert text(app) == before


@pytest.mark.parametrize("key", ["i", "m"])
async def test_a_small_terminal_shows_the_title_and_rows_of_the_list(
    make_app: MakeApp, built: ModelFolder, key: str
) -> None:
    app = make_app()
    async with app.run_test(size=(60, 12)) as pilot:
        await settle(pilot)
        await press(pilot, key)
        await until(pilot, lambda: any(row.startswith("▶") for row in rows(app)))
        assert rows(app)[0].startswith(" HyperDex") and "help" in rows(app)[-1]


async def test_escape_on_the_first_screen_stays(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "escape", "escape")
        assert isinstance(app.screen, ModelsScreen)


async def test_vim_keys_and_arrows_are_the_same(make_app: MakeApp, prefix: Path) -> None:
    make_model(prefix, layers=40)
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "i")
        listing = app.screen.query_one(RowList)
        for vim, arrow in (("j", "down"), ("G", "end"), ("k", "up"), ("g", "home"), ("ctrl+f", "pagedown")):
            start = listing.cursor
            await press(pilot, vim)
            by_vim = listing.cursor
            listing.move_to(start)
            await press(pilot, arrow)
            assert listing.cursor == by_vim != start


async def test_the_cursor_is_always_in_sight(make_app: MakeApp, prefix: Path) -> None:
    make_model(prefix, layers=40)
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "i")
        listing = app.screen.query_one(RowList)
        for key in ("pagedown", "pagedown", "down", "G", "k", "pageup", "right_square_bracket", "g", "j"):
            await press(pilot, key)
            assert listing.top <= listing.cursor < listing.top + listing.window
            marked = [row for row in rows(app)[1:] if row.startswith("▶")]
            assert len(marked) == 1


async def test_instruction_and_region_are_linked_both_ways(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "i", "colon", "5", "enter")  # rd.param of layer 0's weight
        await press(pilot, "enter")
        assert isinstance(app.screen, MemoryScreen)
        current = app.screen.query_one(RegionList).current
        assert current is not None and current.name == "l0.q"
        await press(pilot, "i")  # back to the list that is below, not to a third screen
        assert isinstance(app.screen, InstructionsScreen)
        assert len(app.screen_stack) == 2
        assert "1 of 23: region l0.q" in rows(app)[0]
        await press(pilot, "escape")
        assert "23 instructions" in rows(app)[0]
        row = app.screen.query_one(InstructionList).current
        assert row is not None and row.pc == 5


async def test_search_goes_round_and_meets_every_match(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "i", "slash", "m", "m", "enter")
        listing = app.screen.query_one(InstructionList)
        met = []
        for _ in range(5):
            row = listing.current
            assert row is not None
            met.append(row.pc)
            await press(pilot, "n")
        assert met[:4] != met[1:] and met[0] == met[4]
        await press(pilot, "N")
        row = listing.current
        assert row is not None and row.pc == met[-1]


async def test_layers_fold_and_brackets_walk_over_them(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "i", "right_square_bracket", "right_square_bracket")
        listing = app.screen.query_one(InstructionList)
        row = listing.current
        assert row is not None and (row.section, row.pc) == (2, -1)
        count = listing.row_count()
        await press(pilot, "space")
        assert listing.row_count() == count - 4
        await press(pilot, "space", "Z")
        assert listing.row_count() == 6
        await press(pilot, "colon", "5", "enter")  # unfolds what it goes to
        row = listing.current
        assert row is not None and row.pc == 5


async def test_the_filter_is_live_and_keeps_builds_with_their_model(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "slash", "t", "i", "n", "y")
        shown = text(app)
        assert "example/tiny" in shown and "└ u55c-1x" in shown and "hyperdex/demo" not in shown
        await press(pilot, "enter", "escape")
        assert "hyperdex/demo" in text(app)


async def test_an_impossible_model_id_is_refused_where_it_was_typed(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "a", "full_stop", "full_stop", "slash", "x", "enter")
        assert isinstance(app.screen, ModelsScreen)
        assert "is not ORG/NAME" in text(app)


async def test_the_theme_is_remembered(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        first = app.theme
        await press(pilot, "f2")
        second = app.theme
        assert second != first
        assert make_app().theme == second
        for _ in range(len(THEMES) - 1):
            await press(pilot, "f2")
        assert app.theme == first


async def test_the_palette_offers_the_keys_of_the_screen(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+p", *"memory map")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await pilot.pause(0.3)
        await settle(pilot)
        assert isinstance(app.screen, MemoryScreen)


async def test_a_model_that_vanishes_is_no_failure(make_app: MakeApp, built: ModelFolder, prefix: Path) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        built.path.rename(prefix.parent / "elsewhere")
        await press(pilot, "i")
        assert "cannot be read" in text(app)
        await press(pilot, "escape")
        assert "example/tiny" not in text(app)


async def test_the_shells_way_out_is_answered_with_ours(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "ctrl+c")
        assert "q quits" in text(app)


async def test_the_end_of_a_search_that_was_given_up_leaves_the_title_of_the_next(
    make_app: MakeApp, built: ModelFolder
) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "i")
        screen = app.screen
        assert isinstance(screen, ProgramSearch)
        searches = []
        for _ in range(2):
            screen._query(r"(.+)+\Bxyz", filters=False)  # without end
            searches = [worker for worker in screen.workers if worker.group == "search"]
            await until(pilot, lambda: "searching" in rows(app)[0])
            await asyncio.sleep(0.3)
        assert "searching" in rows(app)[0]
        assert sum(worker.is_running for worker in searches) == 1
        await pilot.press("escape")
        await until(pilot, lambda: "searching" not in rows(app)[0])
