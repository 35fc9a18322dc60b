"""Painting: exact widths, escaped text, and as few changes of style as possible."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from hyperdex_tui.themes import LOOKS
from hyperdex_tui.widgets.painted import Line, Pane, line
from hyperdex_tui.widgets.row_list import RowList
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import settle

SPANS = st.lists(st.tuples(st.text(max_size=12), st.sampled_from(sorted(LOOKS))), max_size=6)


async def test_a_painted_row_has_exactly_its_width(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        listing = app.screen.query_one(RowList)

        @settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
        @given(SPANS, st.integers(1, 90), st.sampled_from(["", "cursor", "bar"]))
        def law(spans: list[tuple[str, str]], width: int, over: str) -> None:
            strip = listing.paint(spans, width, over)
            assert strip.cell_length == cell_len(strip.text) == width
            assert {unicodedata.category(char) for char in strip.text}.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn"})
            styles = [segment.style for segment in strip]
            assert all(first != second for first, second in pairwise(styles))

        law()


@pytest.mark.parametrize("role", ["kind-weight", "kind-free"])
async def test_a_chip_keeps_its_ground_under_the_cursor(make_app: MakeApp, role: str) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        listing = app.screen.query_one(RowList)
        strip = listing.paint(line((" W ", role), " text"), 20, "cursor")
        styles = [segment.style for segment in strip]
        assert styles[0] is not None and styles[1] is not None
        assert styles[0].bgcolor == listing.style_of(role).bgcolor
        assert styles[1].bgcolor == listing.style_of("cursor").bgcolor


async def test_showing_the_same_lines_again_repaints_nothing(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        pane = app.screen.query_one("#model-detail", Pane)
        painted = []
        pane.refresh = lambda *regions, **_: painted.append(regions) or pane  # type: ignore[method-assign,func-returns-value]
        pane.show([line("one"), line("two")])
        assert len(painted) == 1
        pane.show([line("one"), line("two")])
        assert len(painted) == 1
        pane.show([line("one"), line("2")])
        assert [region.y for region in painted[-1]] == [1]


class CountedRows(RowList):
    """A hundred rows that tell which were made."""

    def __init__(self) -> None:
        super().__init__(id="counted")
        self.made: list[int] = []
        self.word = "row"

    def row_count(self) -> int:
        return 100

    def row(self, index: int, width: int) -> Line:
        self.made.append(index)
        return line(f"{self.word} {index}")


async def test_a_row_that_moves_is_not_made_again_until_all_may_look_otherwise(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        rows = CountedRows()
        await app.screen.mount(rows, before="#key-bar")
        await settle(pilot)
        rows.move_to(50)
        await settle(pilot)
        rows.made.clear()
        rows.move_to(51)
        await settle(pilot)
        assert set(rows.made) <= {50, 51, rows.top + rows.window - 1}
        rows.word = "other"
        rows.refresh()
        await settle(pilot)
        shown = [rows.render_line(y).text.strip(" ▶") for y in range(rows.size.height)]
        assert shown[: rows.window] == [f"other {rows.top + y}".strip() for y in range(rows.window)]
