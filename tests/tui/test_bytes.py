"""The bytes of a region on the screen: element, value, and the way to a place and back."""

from __future__ import annotations

import struct

from compiler.artifacts.manifest import param_file
from compiler.header import Payload, write_header
from compiler.workspace import ModelFolder
from hyperdex_tui.screens.bytes import BytesScreen
from tests.tui.builds import BUILD, make_map
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, settle, text

SIZE = (80, 24)


def write_channels(folder: ModelFolder) -> None:
    """Element [row, col] of l0.q is row + col / 64."""
    memory_map = make_map()
    region = memory_map.region("l0.q")
    for channel in range(32):
        content = bytearray(memory_map.file_bytes)
        for row in range(channel, region.rows, 32):
            at = region.place(row, 0, 2).address
            content[at : at + 128] = struct.pack("<64e", *(row + col / 64 for col in range(64)))
        path = folder.param(BUILD) / param_file(1, 0, channel)
        path.write_bytes(write_header(Payload.PARAM, memory_map.dtype.code) + content)


async def test_from_an_element_to_its_bytes_and_on(make_app: MakeApp, built: ModelFolder) -> None:
    write_channels(built)
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "m", "down", "enter")
        assert isinstance(app.screen, BytesScreen)
        await press(pilot, "colon", *"37", "comma", *"6", "enter")
        shown = text(app)
        assert "channel 5 of 32" in shown and "row 37, column 6, tile 1" in shown and "value 37.0938" in shown
        await press(pilot, "right", "right")
        assert "row 37, column 8" in text(app)
        await press(pilot, "full_stop")
        assert "row 38, column 8, tile 1" in text(app) and "value 38.125" in text(app)
        await press(pilot, "left_square_bracket")
        assert "row 6, column 0, tile 0" in text(app)
        await press(pilot, "colon", *"0x8a0", "enter")
        assert "row 38, column 16" in text(app)
        await press(pilot, "i")
        assert "1 of 23: region l0.q" in text(app)


async def test_what_is_not_there_is_said(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "m", "down", "enter")
        assert "param_1fpga_00_00.bin cannot be read" in text(app)
        for place in ("64,0", "0xffffff", "there"):
            await press(pilot, "colon", *("comma" if char == "," else char for char in place), "enter")
            assert "row 0, column 0" in text(app)
        await press(pilot, "escape", "G", "k", "enter")
        assert "written at run time" in text(app)
        await press(pilot, "right_square_bracket", "d", "comma")
        assert "channel 31 of 32" in text(app)


async def test_values_keep_a_gap_and_all_their_digits(make_app: MakeApp, built: ModelFolder) -> None:
    memory_map = make_map()
    assert memory_map.dtype.name == "float16"
    write_channels(built)
    region = memory_map.region("l0.q")
    first = built.param(BUILD) / param_file(1, 0, 0)
    content = bytearray(first.read_bytes())
    at = len(content) - memory_map.file_bytes + region.begin
    content[at : at + 16] = struct.pack("<8e", *(-0.00092935 - step * 1e-6 for step in range(8)))
    first.write_bytes(content)
    app = make_app()
    async with app.run_test(size=(200, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "m", "down", "enter")
        row = next(line for line in text(app).splitlines() if line.startswith("▶"))
        shown = [word for word in row.split() if word.startswith("-0.0009")]
        assert len(shown) == 8 and not any("…" in word for word in shown)
