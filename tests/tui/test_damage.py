"""Files of a build cut short, gone or foreign, before a screen opens and while it is open: a message, never the end."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler.artifacts.manifest import param_file
from compiler.workspace import ModelFolder
from hyperdex_tui.backend.inspector import InspectionError, Inspector
from hyperdex_tui.backend.program import open_program
from hyperdex_tui.backend.query import Term
from tests.tui.builds import BUILD
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, rows, settle, text
from tests.tui.test_bytes import write_channels

SIZE = (100, 30)
INSTRUCTIONS = ("G", "g", "j", "x", "G", "x", "n", "Z", "Z", "T")
MEMORY = ("j", "plus", "0", "c", "escape", "enter", "right", "full_stop")


def newer_format(path: Path) -> None:
    """A whole header of a later version."""
    body = struct.pack("<4sHHI", b"HDEX", 99, *struct.unpack_from("<HI", path.read_bytes(), 6))
    path.write_bytes(body + struct.pack("<I", zlib.crc32(body)) + path.read_bytes()[16:])


def flipped(path: Path) -> None:
    """One bit of the header."""
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)


def cut(size: int) -> Callable[[Path], None]:
    """The first `size` bytes."""

    def shorten(path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(size)

    return shorten


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": cut(0),
    "cut-in-the-header": cut(10),
    "cut-behind-the-header": cut(16),
    "cut": cut(150),
    "gone": Path.unlink,
    "newer": newer_format,
    "flipped": flipped,
}
FILES = ("inst_1fpga.bin", "debug_1fpga.bin", "manifest.json")


EVERYDAY = (("cut", True), ("newer", False))
CASES = [
    pytest.param(name, is_open, id=f"{name}-{'while' if is_open else 'before'}", marks=marks)
    for name in DAMAGES
    for is_open in (False, True)
    for marks in ([] if (name, is_open) in EVERYDAY else [pytest.mark.slow],)
]


@pytest.mark.parametrize(("damage", "is_open"), CASES)
async def test_the_app_outlives_what_happens_to_a_build(
    make_app: MakeApp, built: ModelFolder, damage: str, is_open: bool
) -> None:
    write_channels(built)
    paths = [built.inst(BUILD) / name for name in FILES]
    paths += [built.param(BUILD) / name for name in ("memory_map.json", param_file(1, 0, 0))]

    def spoil() -> None:
        for path in paths:
            DAMAGES[damage](path)

    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        if not is_open:
            spoil()
        await press(pilot, "i")
        if is_open:
            spoil()
        await press(pilot, *INSTRUCTIONS)
        while "Models" not in rows(app)[0]:
            await press(pilot, "escape")
        await press(pilot, "m", *MEMORY)
        while "Models" not in rows(app)[0]:
            await press(pilot, "escape")


@pytest.mark.parametrize("name", FILES[:2])
async def test_a_file_cut_short_while_it_is_shown_is_named_in_place(
    make_app: MakeApp, built: ModelFolder, name: str
) -> None:
    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "i", "j")
        cut(70)(built.inst(BUILD) / name)
        await press(pilot, "G")
        assert f"{name} was cut short while" in text(app)
        assert ("<cut off>" in text(app)) == name.startswith("inst")


async def test_a_search_in_a_program_that_was_replaced_says_so(built: ModelFolder) -> None:
    program = open_program(built.inst(BUILD))
    path = built.inst(BUILD) / FILES[0]
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content + content[-32:])
    inspector = Inspector(built.inst(BUILD), program.count, program.mark)
    with pytest.raises(InspectionError, match="compiled again or changed"):
        await inspector.search([Term("", "mm", False)], lambda part: None)
    inspector.close()
    program.close()


def test_a_replaced_program_stays_readable(built: ModelFolder) -> None:
    path = built.inst(BUILD) / FILES[0]
    program = open_program(built.inst(BUILD))
    before = program.text(0)
    path.rename(path.with_suffix(".old"))
    path.write_bytes(b"HDEX")
    assert (program.text(0), program.note, program.is_current) == (before, "", False)
    program.close()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("flipped", "damaged header"),
        ("cut", "was cut short"),
        ("gone", "it is missing"),
        ("newer", "format version 99"),
    ],
)
async def test_the_bytes_of_a_damaged_file_are_not_shown(
    make_app: MakeApp, built: ModelFolder, damage: str, said: str
) -> None:
    write_channels(built)
    DAMAGES[damage](built.param(BUILD) / param_file(1, 0, 0))
    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "m", "down", "enter")
        assert said in text(app)
        await press(pilot, "full_stop")
        assert "channel 1 of 32" in text(app) and "✗" not in text(app)
