"""The program of a build: list, search, filter, folds, detail, and the way to its memory regions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.errors import HyperDexError
from hyperdex_tui.backend.listing import Listing
from hyperdex_tui.backend.program import Program, open_program
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import LineEntered, OpenGenerate, OpenMemory, RowChosen, RowMoved
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.instruction_detail import InstructionDetail
from hyperdex_tui.widgets.instruction_list import InstructionList

_SEARCH_STEP = 500
"""Instructions decoded between two looks at the keyboard."""


class InstructionsScreen(AppScreen):
    """List above, detail below."""

    scope = "instructions"
    BINDINGS: ClassVar[list[BindingType]] = bindings("instructions")

    def __init__(self, folder: Path, model_id: str, build: str, pc: int = -1, region: str = "") -> None:
        super().__init__(f"{model_id} › {build} › Instructions")
        self.model_id = model_id
        self.build = build
        self._folder = folder
        self._pc = pc
        self._region = region
        self._filter = ""
        self._search = ""
        self._listing: Listing | None = None

    def compose_body(self) -> ComposeResult:
        """List and detail."""
        yield InstructionList()
        yield InstructionDetail()

    def on_mount(self) -> None:
        """Open the program in a thread."""
        self.run_worker(self._open(), group="open")

    async def _open(self) -> None:
        listing = self.query_one(InstructionList)
        try:
            program: Program = await asyncio.to_thread(open_program, self._folder)
        except HyperDexError as error:
            listing.problem = str(error)
            listing.rows_changed()
            return
        self._listing = Listing(program)
        if program.note:
            self.say(program.note, "warning")
        self.focus_on(self._pc, self._region)

    def on_unmount(self) -> None:
        """Let go of the file."""
        if self._listing is not None:
            self._listing.program.close()

    def focus_on(self, pc: int, region: str) -> None:
        """Show instruction `pc`, and only those that use `region` when one is named."""
        if self._listing is None:
            self._pc, self._region = pc, region
            return
        if region:
            self._show_filter(f"region {region}", self._listing.program.uses_of(region))
            return
        if pc >= 0 and self._listing.filtered:
            self._show_filter("", None)
        if pc >= 0:
            section = self._listing.program.section_at(pc)
            self._listing.fold(section, False)
        self._show(pc)

    def _show(self, pc: int) -> None:
        if self._listing is not None:
            self.query_one(InstructionList).show(self._listing, pc)
            self._count_rows()

    def _count_rows(self) -> None:
        if self._listing is None:
            return
        count = self._listing.program.count
        shown = (
            f"{self._listing.row_count:,} of {count:,}: {self._filter}" if self._filter else f"{count:,} instructions"
        )
        self.note(shown)

    def _show_filter(self, title: str, matches: list[int] | None) -> None:
        assert self._listing is not None
        pc = self._current_pc()
        self._filter = title
        self._listing.show_matches(matches)
        self._show(pc)

    def _current_pc(self) -> int:
        """The instruction under the cursor, or the first of the section."""
        row = self.query_one(InstructionList).current
        if row is None or self._listing is None:
            return 0
        return row.pc if row.pc >= 0 else self._listing.program.sections[row.section].begin

    def on_row_moved(self, event: RowMoved) -> None:
        """Decode the row into the detail pane."""
        if self._listing is not None:
            row = self.query_one(InstructionList).current
            self.query_one(InstructionDetail).show_row(self._listing.program, row)

    def on_row_chosen(self, event: RowChosen) -> None:
        """Enter."""
        row = self.query_one(InstructionList).current
        if row is not None and row.pc < 0:
            self.action_fold()
        else:
            self.action_region()

    def action_region(self) -> None:
        """To the memory region of the instruction."""
        row = self.query_one(InstructionList).current
        region = self._listing.program.region(row.pc) if self._listing and row and row.pc >= 0 else ""
        if region:
            self.post_message(OpenMemory(self.model_id, self.build, region))
        else:
            self.say("this instruction touches no memory region")

    def action_memory(self) -> None:
        """The memory map."""
        self.post_message(OpenMemory(self.model_id, self.build))

    def action_prompt(self) -> None:
        """Generate tokens."""
        self.post_message(OpenGenerate(self.model_id, self.build))

    def action_next_section(self) -> None:
        """Next layer."""
        self._to_section(1)

    def action_previous_section(self) -> None:
        """The title of this layer, then the previous one."""
        self._to_section(-1)

    def _to_section(self, step: int) -> None:
        listing, rows = self._listing, self.query_one(InstructionList)
        row = rows.current
        if listing is None or row is None:
            return
        inside = step < 0 and rows.cursor > listing.title_row(row.section)
        section = row.section if inside else row.section + step
        if 0 <= section < len(listing.program.sections):
            rows.move_to(listing.title_row(section))

    def action_fold(self) -> None:
        """Fold or unfold the section under the cursor."""
        row = self.query_one(InstructionList).current
        if self._listing is None or row is None or self._listing.filtered:
            return
        self._listing.fold(row.section, not self._listing.is_folded(row.section))
        self.query_one(InstructionList).rows_changed(self._listing.title_row(row.section))

    def action_fold_all(self) -> None:
        """Fold or unfold everything."""
        row = self.query_one(InstructionList).current
        if self._listing is None or row is None or self._listing.filtered:
            return
        self._listing.fold_all()
        self.query_one(InstructionList).rows_changed(self._listing.title_row(row.section))

    def action_filter(self) -> None:
        """Type a filter."""
        self.open_prompt("filter", "filter ", "", "words of opcode, operands, unit, tensor or region")

    def action_search(self) -> None:
        """Type a search."""
        self.open_prompt("search", "search ", self._search, "words of opcode, operands, unit, tensor or region")

    def action_goto(self) -> None:
        """Type an index."""
        self.open_prompt("goto", "go to ", "", "instruction index or label")

    def on_line_entered(self, event: LineEntered) -> None:
        """Filter, search, or go."""
        self.close_prompt()
        if event.purpose == "filter":
            self.run_worker(self._apply_filter(event.text), exclusive=True, group="search")
        elif event.purpose == "search":
            self._search = event.text
            self.run_worker(self._find(1), exclusive=True, group="search")
        else:
            self._goto(event.text.strip())

    def _goto(self, text: str) -> None:
        if self._listing is None:
            return
        program = self._listing.program
        pc = program.debug.labels.get(text, -1)
        if pc < 0 and text.lstrip("@").isdecimal():
            pc = int(text.lstrip("@"))
        if 0 <= pc < program.count:
            self.focus_on(pc, "")
        else:
            self.say(f"no instruction {text!r}: indices are 0 to {program.count - 1:,}", "warning")

    async def _apply_filter(self, text: str) -> None:
        if self._listing is None:
            return
        if not text.strip():
            self._show_filter("", None)
            return
        program = self._listing.program
        found: list[int] = []
        for begin in range(0, program.count, _SEARCH_STEP):
            found += program.matches(text, begin, min(program.count, begin + _SEARCH_STEP))
            await asyncio.sleep(0)
        self._show_filter(text.strip(), found)

    def action_search_next(self) -> None:
        """Next match."""
        self.run_worker(self._find(1), exclusive=True, group="search")

    def action_search_previous(self) -> None:
        """Previous match."""
        self.run_worker(self._find(-1), exclusive=True, group="search")

    async def _find(self, step: int) -> None:
        """Search from the cursor on, around the end."""
        if self._listing is None or not self._search.strip():
            return
        program, here = self._listing.program, self._current_pc()
        row = self.query_one(InstructionList).current
        first = 0 if row is not None and row.pc < 0 and step > 0 else 1
        for distance in range(first, program.count + 1):
            pc = (here + step * distance) % program.count
            if any(program.matches(self._search, pc, pc + 1)):
                if self._listing.filtered:
                    self._show_filter("", None)
                self.focus_on(pc, "")
                return
            if distance % _SEARCH_STEP == 0:
                await asyncio.sleep(0)
        self.say(f"nothing contains {self._search!r}", "warning")

    def step_back(self) -> bool:
        """Show all instructions again."""
        if not self._filter:
            return False
        self._show_filter("", None)
        return True
