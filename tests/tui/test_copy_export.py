"""Copy of row, marked rows and cell; export to files, never over one unasked."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from textual.widgets import Input

from compiler.workspace import ModelFolder
from hyperdex_tui.app import HyperDexApp
from hyperdex_tui.screens.export import ExportScreen
from hyperdex_tui.tabular import row_text
from hyperdex_tui.widgets.row_list import RowList
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, settle, text, until

SIZE = (80, 24)


class Terminal:
    """The clipboard of a terminal behind the app."""

    def __init__(self, app: HyperDexApp, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        monkeypatch.setattr(app, "_write", self._read)

    def _read(self, sequence: str) -> None:
        self.texts.append(base64.b64decode(sequence.removeprefix("\x1b]52;c;").removesuffix("\a")).decode())


async def test_y_copies_the_row_and_the_marked_rows(
    make_app: MakeApp, built: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        terminal = Terminal(app, monkeypatch)
        await settle(pilot)
        await press(pilot, "i", "g", "j", "j", "y")
        listing = app.screen.query_one(RowList)
        assert terminal.texts == [row_text(listing.cells(2))]
        await press(pilot, "v", "k", "y")
        assert terminal.texts[1:] == ["\n".join(row_text(listing.cells(index)) for index in (1, 2))]
        assert not listing.marked


async def test_escape_ends_marking_before_it_leaves(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "i", "g", "v", "j", "j")
        screen, listing = app.screen, app.screen.query_one(RowList)
        assert listing.marked == range(3)
        assert text(app).count("▌") == 2
        await press(pilot, "escape")
        assert app.screen is screen and not listing.marked and "▌" not in text(app)
        await press(pilot, "escape")
        assert app.screen is not screen


async def test_one_cell_is_chosen_and_copied(
    make_app: MakeApp, built: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        terminal = Terminal(app, monkeypatch)
        await settle(pilot)
        first = row_text(app.screen.query_one(RowList).cells(0)[:1])
        await press(pilot, "Y", "enter")
        assert terminal.texts == [first]


async def test_export_writes_what_the_name_says(make_app: MakeApp, built: ModelFolder, tmp_path: Path) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "m", "e", "tab")
        entry = app.screen.query_one(Input)
        assert entry.value == "example-tiny-u55c-1x-regions.json"
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, ExportScreen))
        listing = app.screen.query_one(RowList)
        written = json.loads((tmp_path / entry.value).read_text())
        assert [tuple(row.values()) for row in written] == [listing.cells(i) for i in range(listing.row_count())]
        assert not [path.name for path in tmp_path.iterdir() if "tmp" in path.name]


async def test_an_existing_file_is_replaced_only_when_asked_twice(
    make_app: MakeApp, built: ModelFolder, tmp_path: Path
) -> None:
    target = tmp_path / "mine.csv"
    target.write_text("precious")
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "e")
        app.screen.query_one(Input).value = "mine.csv"
        await press(pilot, "enter")
        assert target.read_text() == "precious" and "exists, 8 bytes" in text(app)
        app.screen.query_one(Input).value = "mine.txt"
        app.screen.query_one(Input).value = "mine.csv"  # another name was typed in between: asked anew
        await press(pilot, "enter")
        assert target.read_text() == "precious"
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, ExportScreen))
        assert target.read_text() != "precious"


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "type a file name"), ("none/x.csv", "there is no folder none"), (".", "is a folder"), ("~nobody/x", "✗")],
)
async def test_an_impossible_name_is_said_in_place(make_app: MakeApp, built: ModelFolder, name: str, said: str) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "e")
        app.screen.query_one(Input).value = name
        await press(pilot, "enter")
        assert isinstance(app.screen, ExportScreen) and said in text(app)
        await press(pilot, "escape")
        assert not isinstance(app.screen, ExportScreen)


async def test_stopping_an_export_leaves_nothing(make_app: MakeApp, built: ModelFolder, tmp_path: Path) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        listing = app.screen.query_one(RowList)
        listing.row_count = lambda: 10_000_000  # type: ignore[method-assign]
        listing.cells = lambda index: ("x" * 50, index)  # type: ignore[method-assign]
        listing.columns = lambda: ("text", "index")  # type: ignore[method-assign]
        before = set(tmp_path.iterdir())
        await pilot.press("e", "enter")
        await until(pilot, lambda: "of 10,000,000 rows" in text(app))
        await press(pilot, "escape")
        assert "nothing was written" in text(app)
        assert set(tmp_path.iterdir()) == before
