"""Boxes to scale: they cover the screen, hold every byte once, and lead from the device to a tile's bytes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from compiler.memory_map import Region
from compiler.workspace import ModelFolder
from hyperdex_tui.backend.treemap import Box, Part, Tiles, box_at, lay_out, look_of, neighbour, parts_of, whole
from hyperdex_tui.screens.bytes import BytesScreen
from hyperdex_tui.screens.treemap import TreemapScreen
from tests.tui.builds import make_map
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, settle, text
from tests.tui.test_bytes import write_channels

MAP = make_map()
SIZES = st.lists(st.integers(0, 10**12), min_size=1, max_size=40)


def boxes_of(sizes: list[int], width: int, height: int, holds: Tiles | None = None) -> tuple[Box, ...]:
    return lay_out([Part(str(index), size, "weight", -1, holds) for index, size in enumerate(sizes)], width, height)


@given(SIZES, st.integers(1, 60), st.integers(1, 12), st.sampled_from([None, Tiles(MAP.regions[0], 0, 1)]))
def test_boxes_cover_every_cell_once_and_each_part_has_one(
    sizes: list[int], width: int, height: int, holds: Tiles | None
) -> None:
    assume(len(sizes) <= width * height)
    boxes = boxes_of(sizes, width, height, holds)
    assert [box.part.title for box in boxes] == [str(index) for index in range(len(sizes))]
    covered = [
        (x, y) for box in boxes for x in range(box.x, box.x + box.width) for y in range(box.y, box.y + box.height)
    ]
    assert sorted(covered) == [(x, y) for x in range(width) for y in range(height)]
    assert all(box.width and box.height for box in boxes)


def test_more_parts_than_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="5 parts do not fit 2 x 2"):
        boxes_of([1] * 5, 2, 2)


@given(SIZES, st.integers(1, 30), st.integers(1, 12), st.sampled_from([(1, 0), (-1, 0), (0, 1), (0, -1)]))
def test_a_neighbour_touches_the_box(sizes: list[int], width: int, height: int, step: tuple[int, int]) -> None:
    assume(len(sizes) <= width * height)
    boxes = boxes_of(sizes, width, height)
    for index, box in enumerate(boxes):
        other = neighbour(boxes, index, *step)
        at_border = {
            (1, 0): box.x + box.width == width,
            (-1, 0): box.x == 0,
            (0, 1): box.y + box.height == height,
            (0, -1): box.y == 0,
        }[step]
        assert (other == index) == at_border
        assert box_at(boxes, boxes[other].x, boxes[other].y) == other


def walk(part: Part, most: int) -> Iterator[tuple[Part, tuple[Part, ...]]]:
    parts = parts_of(MAP, part, most)
    yield part, parts
    for each in parts:
        if each.holds != part.holds:
            yield from walk(each, most)


@pytest.mark.parametrize("most", [4, 7, 100])
def test_parts_have_the_bytes_of_what_they_divide_and_lead_down_to_single_tiles(most: int) -> None:
    leaves = 0
    for part, parts in walk(whole(MAP), most):
        if parts:
            assert len(parts) <= most
            assert sum(each.bytes for each in parts) == part.bytes
        else:
            assert isinstance(part.holds, Tiles) and part.holds.last - part.holds.first == 1
            leaves += 1
        assert look_of(part)
    assert leaves >= 100


def test_tiles_of_a_region_follow_each_other() -> None:
    region = MAP.region("l0.q")
    parts = parts_of(MAP, Part("q", 8192, "weight", 0, region), 100)
    tiles = [part.holds for part in parts if isinstance(part.holds, Tiles)]
    assert [part.title for part in parts] == ["rows 0-31", "rows 32-63"]
    assert all(one.last == other.first for one, other in pairwise(tiles)) and isinstance(region, Region)


async def test_from_the_device_to_the_bytes_and_out_again(
    make_app: MakeApp, built: ModelFolder, size: tuple[int, int], text_snapshot: SnapshotAssertion
) -> None:
    write_channels(built)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await press(pilot, "m", "j", "t")  # the cursor stands on a region of layer 0
        screen = app.screen
        assert isinstance(screen, TreemapScreen)
        assert "▶ layer 0" in text(app) and text(app) == text_snapshot(name="device")
        shares = [screen.boxes.cells(row)[2] for row in range(screen.boxes.row_count())]
        assert sum(share for share in shares if isinstance(share, float)) == pytest.approx(1.0)
        await press(pilot, "Y")
        assert "device bytes" in text(app) and "77824" in text(app)
        await press(pilot, "escape", "C")
        assert "1 layer 1" in text(app)
        await press(pilot, "C", "enter")
        assert "▶ l0.q" in text(app) and text(app) == text_snapshot(name="layer")
        await press(pilot, "enter", "n")
        assert "▶ rows 32-63" in text(app)
        await press(pilot, "enter")
        assert isinstance(app.screen, BytesScreen) and "row 32, column 0, tile 1" in text(app)
        await press(pilot, "escape", "escape", "i")
        assert "region l0.q" in text(app)
        await press(pilot, "escape", "escape", "escape", "escape")
        assert app.screen is not screen and "Memory map" in text(app)
