"""What the app remembers: whole or not at all, and never a reason not to start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compiler.workspace import ModelFolder
from hyperdex_tui.screens.instructions import InstructionsScreen
from hyperdex_tui.screens.models import ModelsScreen
from hyperdex_tui.state import Place, State, load_state, save_state, state_path
from hyperdex_tui.widgets.model_list import ModelList
from tests.tui.builds import BUILD, MODEL, make_model
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, settle, text

SIZE = (80, 24)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    state = State("hyperdex-light", columns=("unit", "op")).with_place(tmp_path, Place("memory", MODEL, BUILD, "key"))
    assert save_state(path, state) == ""
    assert load_state(path) == (state, "")
    assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]


def test_the_file_is_where_xdg_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    assert state_path() == tmp_path / "elsewhere" / "hyperdex-tui" / "state.json"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"version": 2}',
        b'{"version": 1, "theme": 3}',
        b'{"version": 1, "places": {"p": {"screen": 1}}}',
        b'{"version": 1, "places": {"p": {"wrong": ""}}}',
        b'{"version": 1, "places": {"p": []}}',
        b'{"version": 1, "columns": "unit"}',
        b'{"version": 1, "columns": [1]}',
        b'{"version": 1, "places": {"p": {"screen": "machine", "model_id": "../../elsewhere"}}}',
        b"[" * 100_000,
        b" " * (1 << 21),
    ],
)
def test_a_damaged_file_is_passed_over_with_a_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    state, complaint = load_state(path)
    assert state == State()
    assert str(path) in complaint and complaint.isprintable()


def test_only_the_newest_prefixes_are_kept() -> None:
    state = State()
    for number in range(30):
        state = state.with_place(Path(f"/p{number}"), Place("models", f"m{number}"))
    assert len(state.places) == 20
    assert state.place(Path("/p29")).model_id == "m29" and state.place(Path("/p0")) == Place()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is not a folder" in save_state(tmp_path / "file" / "state.json", State())


async def test_the_next_start_is_where_the_last_one_ended(make_app: MakeApp, built: ModelFolder, prefix: Path) -> None:
    make_model(prefix, "other/model")
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "slash", "o", "t", "h", "e", "r", "enter", "i")
        assert isinstance(app.screen, InstructionsScreen)
        await press(pilot, "q")
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await settle(pilot)
        assert isinstance(app.screen, InstructionsScreen)
        assert app.screen.model_id == "other/model"
        await press(pilot, "escape")
        assert isinstance(app.screen, ModelsScreen)
        await press(pilot, "slash", "t", "i", "n", "y", "enter", "q")
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert isinstance(app.screen, ModelsScreen)
        assert "other/model" not in text(app) and MODEL in text(app)
        assert app.screen.query_one(ModelList).current_model is not None


async def test_a_place_that_is_gone_leaves_the_models(make_app: MakeApp, built: ModelFolder, tmp_path: Path) -> None:
    state = State().with_place(built.prefix, Place("instructions", "gone/model", BUILD))
    save_state(tmp_path / "state.json", state)
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await settle(pilot)
        assert isinstance(app.screen, ModelsScreen)
        assert MODEL in text(app)


async def test_a_damaged_state_is_a_message(make_app: MakeApp, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"version": 99}))
    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        assert "was not read" in text(app)


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        (("i", "f", *"norm", "enter"), "8 of 23: norm"),
        (("m", "slash", *"key", "enter"), "4 of 18 regions"),
        (("m", "slash", *"key", "enter", "t", "enter"), "4 of 18 regions"),
    ],
)
async def test_a_filter_is_there_again_at_the_next_start(
    make_app: MakeApp, built: ModelFolder, keys: tuple[str, ...], shown: str
) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, *keys)
        app.exit()
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert shown in text(app)
        await press(pilot, "escape")
        assert shown not in text(app)
        await press(pilot, "escape")
        assert isinstance(app.screen, ModelsScreen)


async def test_a_region_that_was_gone_to_is_no_filter_of_the_next_start(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "m", "j", "i")
        assert "region l0.q" in text(app)
        app.exit()
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert isinstance(app.screen, InstructionsScreen) and "23 instructions" in text(app)


async def test_chosen_columns_are_there_again_and_cycles_are_not(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "i", "c", "enter", "C", "space", "j", "space", "escape")
        assert "byte" in text(app) and "start" in text(app) and "unit" not in text(app).splitlines()[1]
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "i")
        heading = text(app).splitlines()[1]
        assert "byte" in heading and "unit" not in heading and "start" not in heading
