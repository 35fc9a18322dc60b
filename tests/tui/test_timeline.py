"""A token in time: shares add up at any zoom, and every slice can be reached."""

from __future__ import annotations

import sys
import time
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion
from textual.app import App, ComposeResult

from compiler.debug_records import Failed, Hello, Timeline
from compiler.debug_wire import to_line
from compiler.workspace import ModelFolder
from hyperdex_tui.backend.emulator import Emulator
from hyperdex_tui.backend.timeline import TokenTimeline
from hyperdex_tui.keys import keys_of
from hyperdex_tui.screens.timeline import TimelineScreen
from hyperdex_tui.themes import DARK
from hyperdex_tui.widgets.timeline_tracks import TimelineTracks
from tests.tui.builds import BUILD, MODEL
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, settle, text, until

UNITS = ("SMA", "SXE", "VXE")
REASONS = ("", "SMA", "issue")


def packed(dtype: str, values: object) -> str:
    return b64encode(np.asarray(values, dtype).tobytes()).decode()


def record(units: list[int], starts: list[float], ends: list[float]) -> Timeline:
    waits = [1.0 if index % 2 else 0.0 for index in range(len(units))]
    return Timeline(
        5, False, max(ends, default=1.0), 1e8, UNITS, REASONS,
        packed("<i4", range(len(units))), packed("u1", units), packed("<f8", starts), packed("<f8", ends),
        packed("<f8", waits), packed("u1", [2 if wait else 0 for wait in waits]),
    )  # fmt: skip


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    """Slices that follow one another on each unit."""
    free = [0.0] * len(UNITS)
    units, starts, ends = [], [], []
    for _ in range(draw(st.integers(1, 30))):
        unit = draw(st.integers(0, 2))
        starts.append(free[unit] + draw(st.integers(0, 5)))
        ends.append(starts[-1] + draw(st.integers(0, 9)))
        free[unit] = ends[-1]
        units.append(unit)
    return record(units, starts, ends)


@given(timelines(), st.floats(0, 100), st.floats(0.1, 50))
def test_the_share_of_a_window_is_that_of_its_slices(made: Timeline, begin: float, size: float) -> None:
    timeline = TokenTimeline(made)
    for track in timeline.tracks:
        pieces = [timeline.piece(index) for index in track.order]
        worked = sum(max(0.0, min(each.end, begin + size) - max(each.start, begin)) for each in pieces)
        assert track.share(begin, begin + size) == pytest.approx(worked / size, abs=1e-9)


@given(timelines(), st.integers(1, 40))
def test_columns_together_are_the_whole(made: Timeline, count: int) -> None:
    timeline = TokenTimeline(made)
    for track in timeline.tracks:
        columns = list(timeline.columns(track, 0.0, timeline.cycles, count))
        assert sum(share for share, _ in columns) * timeline.cycles / count == pytest.approx(track.busy, abs=1e-6)
        assert all(reason for share, reason in columns if share == 0)


@pytest.mark.parametrize(
    "name, value", [("units", packed("u1", [9])), ("ends", "AAAA"), ("pcs", "é"), ("reasons", packed("u1", [7]))]
)
def test_columns_that_do_not_fit_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        TokenTimeline(replace(record([0], [0.0], [1.0]), **{name: value}))


class Bare(App[None]):
    """Nothing but tracks."""

    def compose(self) -> ComposeResult:
        yield TimelineTracks()

    def on_mount(self) -> None:
        self.register_theme(DARK)
        self.theme = DARK.name


async def test_every_slice_of_a_unit_is_reached_and_zooming_keeps_the_cycle() -> None:
    starts = [float(index) + (1000 if index > 20 else 0) for index in range(40)]
    timeline = TokenTimeline(record([1] * 40, starts, [start + 0.5 for start in starts]))
    app = Bare()
    async with app.run_test(size=(80, 24)):
        tracks = app.query_one(TimelineTracks)
        tracks.unit = 1
        tracks.show(timeline)
        seen = [tracks.piece.index if tracks.piece else -1]
        for _ in range(39):
            tracks.next_piece(1)
            assert tracks.piece is not None
            seen.append(tracks.piece.index)
        assert seen == list(range(40))
        for _ in range(39):
            tracks.next_piece(-1)
        assert tracks.piece is not None and tracks.piece.index == 0
        tracks.move(30)
        time = tracks.time
        for factor in (0.5, 0.5, 0.5, 2, 0.5, 0.25):
            tracks.zoom(factor)
            assert abs(tracks.time - time) <= tracks.step * 2
        tracks.whole()
        assert (tracks.begin, tracks.end) == (0.0, timeline.cycles)
        tracks.move(10**6)
        assert tracks.end == timeline.cycles and tracks.column == tracks.room - 1


def frame_seconds(count: int) -> float:
    """What it takes to draw all of a token of `count` slices; the fastest of several times."""
    starts = [float(index) for index in range(count)]
    timeline = TokenTimeline(record([index % 3 for index in range(count)], starts, [start + 1 for start in starts]))
    taken = []
    for _ in range(5):
        began = time.process_time()
        for track in timeline.tracks:
            assert sum(share for share, _ in timeline.columns(track, 0.0, timeline.cycles, 188)) > 0
        taken.append(time.process_time() - began)
    return min(taken)


def test_a_frame_of_many_slices_costs_hardly_more_than_one_of_few() -> None:
    assert frame_seconds(300_000) < 10 * frame_seconds(300)


HELLO = Hello(MODEL, BUILD, 23, 1, "float16", 64, 64, 40, True)
CHILD = """
import json, re, sys
print(sys.argv[1], flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    found = sys.argv[2] if asked.get("position", 0) < 8 else sys.argv[3]
    print(re.sub(r'"request":0', f'"request":{asked["request"]}', found), flush=True)
"""
STATES = {
    "whole": (),
    "unit": ("down", "n", "n"),
    "zoomed": ("down", "n", "n", "plus", "plus", "plus"),
    "too-far": ("colon", "9", "enter"),
}


@pytest.mark.parametrize("keys", STATES.values(), ids=STATES)
async def test_timeline_screen(
    make_app: MakeApp,
    built: ModelFolder,
    size: tuple[int, int],
    keys: tuple[str, ...],
    text_snapshot: SnapshotAssertion,
) -> None:
    units = [0, 0, 0, 0, 2, 0, 1, 0, 2, 0, 1]
    starts = [0.0, 4.0, 10.0, 16.0, 40.0, 20.0, 90.0, 24.0, 160.0, 95.0, 210.0]
    ends = [2.0, 6.0, 16.0, 20.0, 88.0, 40.0, 155.0, 30.0, 205.0, 150.0, 300.0]
    lines = [to_line(each) for each in (HELLO, record(units, starts, ends), Failed("position 9 is not below 8"))]
    emulator = Emulator([sys.executable, "-c", CHILD, *lines], Path("/nowhere"))
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        app.push_screen(TimelineScreen(emulator, built.inst(BUILD), MODEL, BUILD, 5))
        await until(pilot, lambda: "(emulated)" in text(app))
        await press(pilot, *keys)
        assert text(app) == text_snapshot
        await emulator.close()


async def test_a_timeline_that_cannot_be_had_says_why(make_app: MakeApp, built: ModelFolder) -> None:
    emulator = Emulator([sys.executable, "-c", "import sys; sys.exit('hyperdex: error: no build')"], Path("/nowhere"))
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.push_screen(TimelineScreen(emulator, built.inst(BUILD), MODEL, BUILD, 5))
        await until(pilot, lambda: "✗ no build" in text(app))
        lines = ("goto", "trace")  # these ask for a line of text
        await press(pilot, *(key.keys.split(",")[0] for key in keys_of("timeline") if key.action not in lines))
        await press(pilot, "w", "escape", "colon", "escape", "escape")
        assert "Models" in text(app)


def test_a_slice_that_runs_while_another_waits_does_not_hide_why() -> None:
    made = record([0, 0, 0], [0.0, 50.0, 100.0], [10.0, 52.0, 110.0])
    made = replace(made, waits=packed("<f8", [0.0, 0.0, 88.0]), reasons=packed("u1", [0, 0, 1]))
    timeline = TokenTimeline(made)
    reasons = [reason for share, reason in timeline.columns(timeline.tracks[0], 0.0, 110.0, 11) if share == 0]
    assert reasons == ["SMA"] * len(reasons) and len(reasons) == 8
