"""Two builds beside each other, aligned by operation: what changed, and what it costs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.errors import HyperDexError
from compiler.quantity import change_text
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
        right: instruction folder of the build it is compared with, or how this one is to be made otherwise
            (`backend.variants.Rival.change`).
    """

    scope = "compare"
    BINDINGS: ClassVar[list[BindingType]] = bindings("compare")

    def __init__(self, left: Path, right: Path | str, model_id: str, build: str) -> None:
        other = right if isinstance(right, str) else right.name if right.parent == left.parent else str(right)
        super().__init__(f"{model_id} › {build} │ {other}")
        self.model_id = model_id
        self.build = build
        self._left = left
        self._right = right
        self._made: TemporaryDirectory[str] | None = None
        self._programs: list[Program] = []
        self._pairs: tuple[Pair, ...] = ()
        self._position = 0
        self._cycles = (0.0, 0.0)
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
            left = await asyncio.to_thread(open_program, self._left)
            self._programs.append(left)
            inspector = self._inspector = Inspector(self._left, left.count, left.mark)
            folder = self._right if isinstance(self._right, Path) else await self._make(inspector, self._right)
            self._programs.append(await asyncio.to_thread(open_program, folder))
            self._position = min(_POSITION, *(program.manifest.max_length - 1 for program in self._programs))
            request = {"do": "compare", "other": str(folder.absolute()), "position": self._position}
            found, _ = await inspector.ask(request)
        except Interrupted:
            return
        except (HyperDexError, InspectionError, OSError) as error:
            self.pairs.problem = str(error)
            self.pairs.rows_changed()
            return
        self._pairs = pairs_from(found["pairs"])
        self._cycles = (found["cycles"][0], found["cycles"][1])
        self.pairs.show(self._pairs, *self._programs)
        changed = sum(pair.change != "same" for pair in self._pairs)
        self.note(f"{changed:,} of {len(self._pairs):,} operations differ")

    async def _make(self, inspector: Inspector, change: str) -> Path:
        """The program of the left build made otherwise, in a folder that lives as long as this screen.

        Raises:
            InspectionError: it cannot be made.
            OSError: there is no room for it.
        """
        self.pairs.working = f"Making the program {change} …"
        self.pairs.refresh()
        self._made = TemporaryDirectory(prefix="hyperdex-compare-", ignore_cleanup_errors=True)
        folder = Path(self._made.name) / change
        folder.mkdir()
        await inspector.ask({"do": "variant", "change": change, "into": str(folder)})
        self.pairs.working = ""
        return folder

    def on_unmount(self) -> None:
        """End the process, let go of the files and remove what was made for the comparison."""
        if self._inspector is not None:
            self._inspector.close()
        for program in self._programs:
            program.close()
        if self._made is not None:
            self._made.cleanup()

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
        counts, (before, after) = [program.count for program in self._programs], self._cycles
        change = f" ({change_text(before, after)})" if before and after != before else ""
        totals = f"{counts[0]:,} │ {counts[1]:,} instructions; {before:,.0f} │ {after:,.0f} cycles{change}"
        lines.append(line(("token ", "dim"), totals, (f" at position {self._position}", "dim")))
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
