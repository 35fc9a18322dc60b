"""The program of a build: list, search, filter, folds, marks, detail, and the way to its memory regions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.errors import HyperDexError
from compiler.header import HEADER_BYTES
from compiler.isa.spec import INSTRUCTION_BYTES
from hyperdex_tui.backend.inspector import TIMED_LIMIT, Inspector
from hyperdex_tui.backend.listing import Listing
from hyperdex_tui.backend.program import Program, open_program
from hyperdex_tui.backend.variants import Rival, rivals_of
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import ColumnsChosen, LineEntered, OpenGenerate, OpenMachine, OpenMemory, RowChosen, RowMoved
from hyperdex_tui.screens.columns import ColumnsScreen
from hyperdex_tui.screens.compare import CompareScreen
from hyperdex_tui.screens.program_relations import ProgramRelations
from hyperdex_tui.screens.program_search import ProgramSearch
from hyperdex_tui.screens.rivals import RivalsScreen
from hyperdex_tui.widgets.instruction_detail import InstructionDetail
from hyperdex_tui.widgets.instruction_list import TIMES, InstructionList

_REST_SECONDS = 0.15
"""The cursor rests this long before its neighbours are looked up."""

_TALL_FROM = 40
"""Rows of the terminal from which on the detail pane starts tall."""


class InstructionsScreen(ProgramSearch, ProgramRelations):
    """List above, detail below."""

    scope = "instructions"
    BINDINGS: ClassVar[list[BindingType]] = bindings("instructions")

    def compose_body(self) -> ComposeResult:
        """List and detail."""
        yield InstructionList()
        yield InstructionDetail()

    def on_mount(self) -> None:
        """Open the program in a thread."""
        self.query_one(InstructionDetail).set_class(self.app.size.height >= _TALL_FROM, "tall")
        self.rows.cycles = self.query_one(InstructionDetail).cycles = self._cycles
        self.rows.follower = self._show_detail
        if self._columns is not None:
            self.rows.chosen = self._columns
        self.run_worker(self._open(), group="open")

    async def _open(self) -> None:
        try:
            program: Program = await asyncio.to_thread(open_program, self._folder)
        except HyperDexError as error:
            self.rows.problem = str(error)
            self.rows.rows_changed()
            return
        self._listing = Listing(program)
        self._inspector = Inspector(self._folder, program.count, program.mark)
        self.tell_once(program.note)
        typed = self.view_filter
        self.focus_on(self._pc, self._region)
        if typed and self._pc < 0 and not self._region:
            self._query(typed, filters=True)

    def on_unmount(self) -> None:
        """Let go of the file and end what computes."""
        if self._rest is not None:
            self._rest.cancel()
        if self._inspector is not None:
            self._inspector.close()
        if self._listing is not None:
            self._listing.program.close()

    def on_row_moved(self, event: RowMoved) -> None:
        """Decode the row into the detail pane; its neighbours follow when the cursor rests."""
        if self._listing is None:
            return
        row = self.rows.current
        self._edges = {}
        self._show_detail()
        if self._search and not self._filter:
            self._count_rows()
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if row is not None and row.pc >= 0:
            self._rest = asyncio.get_running_loop().call_later(_REST_SECONDS, self._rested, row.pc)

    def _show_detail(self) -> None:
        row = self.rows.current
        if self._listing is not None and row != self.query_one(InstructionDetail).shown:
            self.query_one(InstructionDetail).show_row(self._listing.program, row)
            self.tell_once(self._listing.program.note)

    def on_screen_resume(self) -> None:
        """Back from another screen: the build may have been made anew meanwhile."""
        if self._listing is not None and not self._listing.program.is_current:
            self.tell_once("the program was compiled again or changed since it was opened; Esc, then open it anew")

    def on_row_chosen(self, event: RowChosen) -> None:
        """Enter."""
        row = self.rows.current
        if row is not None and row.pc < 0:
            self.action_fold()
        else:
            self.action_region()

    def action_region(self) -> None:
        """To the memory region of the instruction."""
        row = self.rows.current
        region = self._listing.program.region(row.pc) if self._listing and row and row.pc >= 0 else ""
        if region:
            self.post_message(OpenMemory(self.model_id, self.build, region))
        else:
            self.say("this instruction touches no memory region")

    def action_memory(self) -> None:
        """The memory map."""
        self.post_message(OpenMemory(self.model_id, self.build))

    def action_machine(self) -> None:
        """Debug with a breakpoint at this line."""
        self.post_message(OpenMachine(self.model_id, self.build, self._current_pc()))

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
        listing, row = self._listing, self.rows.current
        if listing is None or row is None:
            return
        inside = step < 0 and self.rows.cursor > listing.title_row(row.section)
        section = row.section if inside else row.section + step
        if 0 <= section < len(listing.program.sections):
            self.rows.move_to(listing.title_row(section))

    def action_fold(self) -> None:
        """Fold or unfold the section under the cursor."""
        row = self.rows.current
        if self._listing is None or row is None or self._listing.is_filtered:
            return
        self._listing.fold(row.section, not self._listing.is_folded(row.section))
        self.rows.rows_changed(self._listing.title_row(row.section))

    def action_fold_all(self) -> None:
        """Fold or unfold everything."""
        row = self.rows.current
        if self._listing is None or row is None or self._listing.is_filtered:
            return
        self._listing.fold_all()
        self.rows.rows_changed(self._listing.title_row(row.section))

    def action_columns(self) -> None:
        """Choose the columns."""
        self.app.push_screen(ColumnsScreen(self.rows.chosen), self._use_columns)

    def _use_columns(self, chosen: tuple[str, ...] | None) -> None:
        if chosen is not None:
            self.rows.chosen = chosen
            self.rows.refresh()
            self.post_message(ColumnsChosen(tuple(name for name in chosen if name not in TIMES)))
            if {*TIMES} & {*chosen} and not self._times:
                self.action_cycles()

    def action_detail(self) -> None:
        """Tall or short detail pane."""
        self.query_one(InstructionDetail).toggle_class("tall")

    def action_compare(self) -> None:
        """Choose what to compare with."""
        program = self._listing.program if self._listing is not None else None
        if program is None:
            return
        if program.count > TIMED_LIMIT:
            self.say(
                f"at most {TIMED_LIMIT:,} instructions are compared, this program has {program.count:,}", "warning"
            )
            return
        self.app.push_screen(RivalsScreen(rivals_of(self._folder, program.manifest.passes)), self._compare_with)

    def _compare_with(self, rival: Rival | None) -> None:
        if rival is None:
            return
        if rival.build or rival.change:
            other = self._folder.parent / rival.build if rival.build else rival.change
            self.app.push_screen(CompareScreen(self._folder, other, self.model_id, self.build))
            return
        self.open_prompt("compare", "compare with ", "", "the instruction folder (…/inst/BUILD) of a build")

    def _compare(self, text: str) -> None:
        """Show both; a bare name is a build of the same model."""
        try:
            other = Path(text).expanduser() if "/" in text else self._folder.parent / text
            is_there = bool(text) and other.is_dir()
        except (OSError, RuntimeError, ValueError):  # no such home folder, a name too long, a null byte
            is_there = False
        if not is_there:
            self.say(f"there is no build {text!r}", "warning")
        else:
            self.app.push_screen(CompareScreen(self._folder, other, self.model_id, self.build))

    def action_goto(self) -> None:
        """Type a place."""
        self.open_prompt("goto", "go to ", "", "index, label, layer 3, or 0x… byte of the program file")

    def action_cycles(self) -> None:
        """Type the position of the token that is timed."""
        if self._listing is None:
            return
        if self._listing.program.count > TIMED_LIMIT:
            count = self._listing.program.count
            self.say(f"cycles are calculated for at most {TIMED_LIMIT:,} instructions, here are {count:,}", "warning")
        else:
            last = self._listing.program.manifest.max_length - 1
            self.open_prompt("cycles", "cycles of the token at position ", str(min(255, last)), f"0 to {last}")

    def on_line_entered(self, event: LineEntered) -> None:
        """Filter, search, go, or time."""
        self.close_prompt()
        if self._listing is None:
            return
        if event.purpose == "goto":
            self._goto(event.text.strip())
        elif event.purpose == "compare":
            self._compare(event.text.strip())
        elif event.purpose == "cycles":
            self._time(event.text.strip())
        else:
            self._query(event.text.strip(), filters=event.purpose == "filter")

    def _goto(self, text: str) -> None:
        if self._listing is None:
            return
        pc = _place(self._listing.program, text)
        if 0 <= pc < self._listing.program.count:
            self._jump(pc)
        else:
            self.say(f"no instruction {text!r}: indices are 0 to {self._listing.program.count - 1:,}", "warning")

    def step_back(self) -> bool:
        """Cancel what runs, show all instructions again, forget the search."""
        if self._working and self._inspector is not None:
            self._inspector.interrupt()
        elif self._filter:
            self._show_filter("", None)
        elif self._search:
            self._forget_matches()
        else:
            return False
        return True


def _place(program: Program, text: str) -> int:
    """The instruction that a text names: label, index, layer, or byte of the program file; -1 when none."""
    if text in program.targets:
        return program.targets[text]
    word, _, number = text.partition(" ")
    if word == "layer" and number.strip().isdecimal():
        section = program.sections.of_layer(int(number.strip()[:12]))
        return program.sections[section].begin if section >= 0 else -1
    if text.lower().startswith("0x"):
        try:
            return (int(text, 16) - HEADER_BYTES) // INSTRUCTION_BYTES
        except ValueError:
            return -1
    plain = text.lstrip("@").replace(",", "")
    return int(plain) if plain.isdecimal() and len(plain) < 12 else -1
