"""One token of a build in time: the units as tracks, what they wait for, and the instruction under the cursor."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.debug_records import Done, Timeline
from compiler.errors import HyperDexError
from compiler.quantity import percent_text
from hyperdex_tui.backend.emulator import Emulator
from hyperdex_tui.backend.program import Program, open_program
from hyperdex_tui.backend.timeline import TokenTimeline
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import LineEntered, OpenInstructions, RowMoved
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.tabular import Cell, Tabular
from hyperdex_tui.widgets.painted import Line, Pane, line
from hyperdex_tui.widgets.timeline_tracks import TimelineTracks, reason_letter

_ZOOM = 0.5


class TimelineScreen(AppScreen):
    """Tracks on top, the slice under the cursor and the waits of its unit below."""

    scope = "timeline"
    AUTO_FOCUS = "#timeline-tracks"
    BINDINGS: ClassVar[list[BindingType]] = bindings("timeline")

    def __init__(self, emulator: Emulator, folder: Path, model_id: str, build: str, position: int) -> None:
        super().__init__(f"{model_id} › {build} › Timeline")
        self.model_id = model_id
        self.build = build
        self._emulator = emulator
        self._folder = folder
        self._position = position
        self._prompt = False
        self._program: Program | None = None

    def compose_body(self) -> ComposeResult:
        """Tracks and detail."""
        yield TimelineTracks()
        yield Pane(id="timeline-detail", classes="detail")

    def on_mount(self) -> None:
        """Time the token."""
        self.run_worker(self._open(), group="open")
        self._load()

    async def _open(self) -> None:
        try:
            self._program = await asyncio.to_thread(open_program, self._folder)
        except HyperDexError as error:
            self.say(str(error), "error")
            return
        self._detail()

    def on_unmount(self) -> None:
        """Let go of the file."""
        if self._program is not None:
            self._program.close()

    def _load(self) -> None:
        self.run_worker(self._time(self._position, self._prompt), exclusive=True, group="time")

    async def _time(self, position: int, prompt: bool) -> None:
        tracks = self.query_one(TimelineTracks)
        try:
            record = await self._emulator.ask("timeline", position=position, prompt=prompt)
            assert isinstance(record, Timeline)
            timeline = await asyncio.to_thread(TokenTimeline, record)
        except (HyperDexError, ValueError) as error:
            if tracks.timeline is None:
                tracks.problem = str(error)
                tracks.refresh()
            else:
                self.say(str(error), "error")
                self._position = tracks.timeline.position
            return
        tracks.show(timeline)
        kind = "prompt" if timeline.prompt else "token"
        milliseconds = 1e3 * timeline.cycles / timeline.clock_hz
        self.note(f"{kind} {position}: {milliseconds:.4g} ms (emulated)")

    @property
    def table(self) -> Tabular | None:
        """Every slice of the token, for copying and export."""
        tracks = self.query_one(TimelineTracks)
        return SliceTable(tracks, self._program) if tracks.timeline is not None else None

    def on_row_moved(self, event: RowMoved) -> None:
        """The cursor is elsewhere."""
        self._detail()
        if self._program is not None:
            self.tell_once(self._program.note)

    def _detail(self) -> None:
        tracks = self.query_one(TimelineTracks)
        timeline, piece = tracks.timeline, tracks.piece
        if timeline is None:
            return
        track = timeline.tracks[tracks.unit]
        lines: list[Line] = []
        if piece is not None:
            running = piece.start <= tracks.begin + (tracks.column + 1) * tracks.step
            text = self._program.text(piece.pc) if self._program is not None and piece.pc < self._program.count else ""
            node = self._program.node(piece.pc) if self._program is not None else None
            lines.append(line(("now  " if running else "next ", "dim"), (f"{piece.pc} ", "dim"), (text, "strong")))
            length = piece.end - piece.start
            times = f"{piece.start:,.0f} to {piece.end:,.0f}, {length:,.0f} cycles"
            waited = f"  after {piece.waited:,.0f} cycles of waiting: {piece.reason}" if piece.waited else ""
            lines.append(line(("     ", "dim"), (times, "text"), (waited, "warn")))
            lines.append(
                line(("     ", "dim"), (f"{node.op} of {node}" if node is not None else "control flow", "text"))
            )
        else:
            lines.append(line((f"nothing more on {track.name} in this token", "dim")))
        waits = sorted(track.waits.items(), key=lambda item: -item[1])
        shares = ", ".join(
            f"{reason_letter(why)} {why} {percent_text(cycles, timeline.cycles)}" for why, cycles in waits
        )
        lines.append(
            line(
                (f"{track.name} works {percent_text(track.busy, timeline.cycles)}; waits: ", "dim"),
                (shares or "never", "text"),
            )
        )
        window = f"window {tracks.begin:,.0f} to {tracks.end:,.0f} of {timeline.cycles:,.0f} cycles"
        lines.append(line((f"{window}, {tracks.step:,.1f} a column", "dim")))
        self.query_one("#timeline-detail", Pane).show(lines)

    def action_left(self) -> None:
        """One column back."""
        self.query_one(TimelineTracks).move(-1)

    def action_right(self) -> None:
        """One column on."""
        self.query_one(TimelineTracks).move(1)

    def action_page_left(self) -> None:
        """Half a window back."""
        tracks = self.query_one(TimelineTracks)
        tracks.move(-tracks.room // 2)

    def action_page_right(self) -> None:
        """Half a window on."""
        tracks = self.query_one(TimelineTracks)
        tracks.move(tracks.room // 2)

    def action_unit_up(self) -> None:
        """The unit above."""
        self.query_one(TimelineTracks).choose_unit(-1)

    def action_unit_down(self) -> None:
        """The unit below."""
        self.query_one(TimelineTracks).choose_unit(1)

    def action_zoom_in(self) -> None:
        """Half as many cycles."""
        self.query_one(TimelineTracks).zoom(_ZOOM)

    def action_zoom_out(self) -> None:
        """Twice as many cycles."""
        self.query_one(TimelineTracks).zoom(1 / _ZOOM)

    def action_whole(self) -> None:
        """The whole token."""
        self.query_one(TimelineTracks).whole()

    def action_next_slice(self) -> None:
        """The next instruction of the unit."""
        self.query_one(TimelineTracks).next_piece(1)

    def action_previous_slice(self) -> None:
        """The previous instruction of the unit."""
        self.query_one(TimelineTracks).next_piece(-1)

    def action_next_token(self) -> None:
        """The token behind."""
        self._position += 1
        self._load()

    def action_previous_token(self) -> None:
        """The token before."""
        if self._position:
            self._position -= 1
            self._load()

    def action_kind(self) -> None:
        """A token of the prompt, whose logits are not needed, or one that is generated."""
        self._prompt = not self._prompt
        self._load()

    def action_goto(self) -> None:
        """Type a position."""
        self.open_prompt("position", "position ", str(self._position), "of the token in the text")

    def action_trace(self) -> None:
        """Type a file name."""
        name = f"{self.model_id.replace('/', '-')}-{self.build}-{self._position}.trace.json"
        self.open_prompt("trace", "trace ", name, "file for ui.perfetto.dev")

    def on_line_entered(self, event: LineEntered) -> None:
        """A position, or the name of a trace."""
        self.close_prompt()
        text = event.text.strip()
        if event.purpose == "trace" and text:
            self.run_worker(self._save(text), group="trace")
        elif event.purpose == "position" and text.isdecimal() and len(text) <= 9:
            self._position = int(text)
            self._load()

    async def _save(self, name: str) -> None:
        try:
            path = Path(name).expanduser().absolute()
            problem = f"{path} exists already: name another file" if path.exists() else ""
        except (OSError, RuntimeError, ValueError) as error:  # no such home folder, a name too long, a null byte
            problem = str(error)
        if problem:
            self.say(problem, "error")
            return
        try:
            done = await self._emulator.ask("trace", path=str(path), position=self._position)
        except HyperDexError as error:
            self.say(str(error), "error")
            return
        self.say(done.detail if isinstance(done, Done) else "saved")

    def action_instructions(self) -> None:
        """The instruction under the cursor in the whole program."""
        piece = self.query_one(TimelineTracks).piece
        if piece is not None:
            self.post_message(OpenInstructions(self.model_id, self.build, piece.pc))


class SliceTable:
    """The slices of a token as rows, in program order."""

    table_name = "timeline"
    marked = range(0)

    def __init__(self, tracks: TimelineTracks, program: Program | None) -> None:
        assert tracks.timeline is not None
        self._timeline = tracks.timeline
        self._program = program
        self.cursor = tracks.piece.index if tracks.piece is not None else 0

    def columns(self) -> tuple[str, ...]:
        """Everything known of a slice."""
        return ("index", "unit", "start_cycle", "end_cycle", "waited_cycles", "reason", "text", "source")

    def row_count(self) -> int:
        """Slices."""
        return len(self._timeline)

    def cells(self, index: int) -> tuple[Cell, ...]:
        """One slice."""
        piece, program = self._timeline.piece(index), self._program
        node = program.node(piece.pc) if program is not None else None
        text = program.text(piece.pc) if program is not None and piece.pc < program.count else None
        source = str(node) if node is not None else None
        return piece.pc, piece.unit, piece.start, piece.end, piece.waited, piece.reason, text, source
