"""Every screen at both sizes, as text."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from compiler.workspace import ModelFolder
from hyperdex_tui.app import HyperDexApp
from tests.tui.builds import BUILD
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, rows, settle, text

Size = tuple[int, int]

TOUR = {
    "models": (),
    "models-filter": ("slash", "t", "i", "n"),
    "models-nothing-matches": ("slash", "x", "y", "z", "enter"),
    "models-add": ("a",),
    "jobs-empty": ("J",),
    "instructions": ("i", "right_square_bracket", "down", "down"),
    "instructions-folded": ("i", "Z"),
    "instructions-filter": ("i", "f", "r", "m", "s", "enter"),
    "memory": ("m", "down", "down"),
    "memory-by-size": ("m", "s"),
    "memory-filter": ("m", "slash", "k", "e", "y"),
    "generate": ("p",),
    "help": ("question_mark",),
}


@pytest.mark.parametrize("keys", TOUR.values(), ids=TOUR.keys())
async def test_screen(
    make_app: MakeApp, built: ModelFolder, size: Size, keys: tuple[str, ...], text_snapshot: SnapshotAssertion
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await press(pilot, *keys)
        assert_fits(app, size)
        assert text(app) == text_snapshot


async def test_first_start(make_app: MakeApp, size: Size, text_snapshot: SnapshotAssertion) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert text(app) == text_snapshot


@pytest.mark.parametrize("key", ["i", "m"])
async def test_a_damaged_build_is_a_message_in_place(
    make_app: MakeApp, built: ModelFolder, size: Size, key: str, text_snapshot: SnapshotAssertion
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        (built.inst(BUILD) / "inst_1fpga.bin").write_bytes(b"HDEX")
        (built.param(BUILD) / "memory_map.json").write_bytes(b"{}")
        await press(pilot, key)
        assert text(app) == text_snapshot
        await press(pilot, "escape")
        assert "Models" in rows(app)[0]


def assert_fits(app: HyperDexApp, size: Size) -> None:
    """Every row is there, and the key bar is the last one."""
    shown = rows(app)
    assert len(shown) == size[1]
    assert shown[0].startswith(" HyperDex")
    assert shown[-1].strip()
