"""Two builds beside each other, aligned by operation: what changed, and what it costs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.errors import HyperDexError
from hyperdex_tui.backend.comparison import Pair, pairs_from
from hyperdex_tui.backend.inspector import InspectionError, Inspector, Interrupted
from hyperdex_tui.backend.program import Program, open_program
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import OpenInstructions, RowChosen, RowMoved
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.painted import Line, Pane, line
from hyperdex_tui.widgets.pair_list import CHANGES, PairList

_POSITION = 255
"""Position of the token that both are timed for, or the last that both hold."""


class CompareScreen(AppScreen):
    """Operations above, the one under the cursor below.

    Args:
        left: instruction folder of the build that is compared.
        right: instruction folder of the build it is compared with.
    """

    scope = "compare"
    BINDINGS: ClassVar[list[BindingType]] = bindings("compare")

    def __init__(self, left: Path, right: Path, model_id: str, build: str) -> None:
        other = right.name if right.parent == left.parent else str(right)
        super().__init__(f"{model_id} › {build} │ {other}")
        self.model_id = model_id
        self.build = build
        self._folders = (left, right)
        self._programs: list[Program] = []
        self._pairs: tuple[Pair, ...] = ()
        self._position = 0
        self._inspector: Inspector | None = None

    def compose_body(self) -> ComposeResult:
        """Pairs and detail."""
        yield PairList()
        yield Pane(id="pair-detail", classes="detail")

    @property
    def pairs(self) -> PairList:
        """The list."""
        return self.query_one(PairList)

    def on_mount(self) -> None:
        """Open both and align them, in a process of their own."""
        self.run_worker(self._open(), group="open")

    async def _open(self) -> None:
        try:
            for folder in self._folders:
                self._programs.append(await asyncio.to_thread(open_program, folder))
            self._position = min(_POSITION, *(program.manifest.max_length - 1 for program in self._programs))
            self._inspector = Inspector(self._folders[0], self._programs[0].count, self._programs[0].mark)
            request = {"do": "compare", "other": str(self._folders[1].absolute()), "position": self._position}
            found, _ = await self._inspector.ask(request)
        except Interrupted:
            return
        except (HyperDexError, InspectionError) as error:
            self.pairs.problem = str(error)
            self.pairs.rows_changed()
            return
        self._pairs = pairs_from(found["pairs"])
        self.pairs.show(self._pairs, *self._programs)
        changed = sum(pair.change != "same" for pair in self._pairs)
        self.note(f"{changed:,} of {len(self._pairs):,} operations differ")

    def on_unmount(self) -> None:
        """End the process and let go of the files."""
        if self._inspector is not None:
            self._inspector.close()
        for program in self._programs:
            program.close()

    def on_row_moved(self, event: RowMoved) -> None:
        """Describe the operation under the cursor."""
        pair = self.pairs.current_pair
        self.query_one("#pair-detail", Pane).show(self._detail(pair) if pair is not None else [])
        for program in self._programs:
            self.tell_once(program.note)

    def _detail(self, pair: Pair) -> list[Line]:
        sign, role, meaning = CHANGES[pair.change]
        lines = [line((f"{sign} ", role), (pair.name, "strong"), f"  {meaning}")]
        for title, side, program in zip(("left ", "right "), (pair.left, pair.right), self._programs, strict=True):
            if side is None:
                lines.append(line((title, "dim"), ("nothing", "dim")))
                continue
            layer = f", layer {side.layer}" if side.layer >= 0 else ""
            cycles = f", units busy {side.cycles:,.0f} cycles" if side.cycles is not None else ""
            where = f"{side.op}{layer}: {side.count} instructions from {side.first}{cycles}"
            lines.append(line((title, "dim"), where, (f"  {program.folder.name}", "dim")))
        totals = [f"{program.count:,} instructions" for program in self._programs]
        lines.append(line(("programs ", "dim"), " │ ".join(totals), (f"; timed at position {self._position}", "dim")))
        return lines

    def on_row_chosen(self, event: RowChosen) -> None:
        """Enter."""
        self.action_fold()

    def action_fold(self) -> None:
        """Show or hide the instructions of the operation."""
        self.pairs.fold()

    def action_next_change(self) -> None:
        """Next operation that differs."""
        if not self.pairs.to_change(1):
            self.say("no operation below differs")

    def action_previous_change(self) -> None:
        """Previous operation that differs."""
        if not self.pairs.to_change(-1):
            self.say("no operation above differs")

    def action_only_changes(self) -> None:
        """Only what differs, or everything."""
        self.pairs.only_changes = not self.pairs.only_changes
        self.pairs.lay_out()

    def action_instructions(self) -> None:
        """The operation in the list of the left program."""
        row, pair = self.pairs.current, self.pairs.current_pair
        if row is None or pair is None or pair.left is None:
            self.say("the left program does not have it")
            return
        pc = row.pcs[0] if row.pcs is not None and row.pcs[0] >= 0 else pair.left.first
        self.post_message(OpenInstructions(self.model_id, self.build, pc=pc))
