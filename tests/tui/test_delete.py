"""Deleting a build: asked with its size, done, said, and the cursor stays with the model."""

from __future__ import annotations

from pathlib import Path

from compiler.quantity import bytes_text
from compiler.workspace import ModelFolder, folder_bytes
from hyperdex_tui.widgets.model_list import ModelList
from tests.tui.builds import BUILD, MODEL, make_model
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, rows, settle, text, until


async def test_a_build_is_deleted_after_asking_with_its_size(make_app: MakeApp, prefix: Path) -> None:
    make_model(prefix, "a/first")
    built = make_model(prefix)
    size = bytes_text(folder_bytes(built.param(BUILD)) + folder_bytes(built.inst(BUILD)))
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.screen.query_one(ModelList).select(MODEL)
        await press(pilot, "down", "x")
        assert f"Delete build {BUILD} of {MODEL}?" in text(app) and f"Frees {size}" in text(app)
        await press(pilot, "n")
        assert built.builds() == (BUILD,)
        await press(pilot, "x", "y")
        await until(pilot, lambda: f"deleted {BUILD} of {MODEL}: {size} freed" in rows(app)[-1])
        await settle(pilot)
        assert not built.builds() and (built.ckpt / "config.json").is_file()
        assert app.screen.query_one(ModelList).current_id == MODEL, "the next key is not for another model"


async def test_a_build_that_is_gone_meanwhile_is_a_message(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.screen.query_one(ModelList).select(MODEL)
        await press(pilot, "down", "x")
        for kind in (built.param(BUILD), built.inst(BUILD)):
            kind.rename(kind.parent.parent / f"gone-{kind.parent.name}")
        await press(pilot, "y")
        await until(pilot, lambda: "✗" in rows(app)[-1])
        assert BUILD in rows(app)[-1]
