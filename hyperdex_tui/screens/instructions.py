"""The program of a build: list, search, filter, folds, marks, detail, and the way to its memory regions."""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left, bisect_right
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.errors import HyperDexError
from compiler.header import HEADER_BYTES
from compiler.isa.spec import INSTRUCTION_BYTES
from hyperdex_tui.backend.inspector import InspectionError, Inspector, Interrupted
from hyperdex_tui.backend.listing import Listing
from hyperdex_tui.backend.program import Program, open_program, other_programs
from hyperdex_tui.backend.query import HINT, QueryError, Term, parse_query, region_query, tensor_query
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import LineEntered, OpenGenerate, OpenMachine, OpenMemory, RowChosen, RowMoved
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.screens.columns import ColumnsScreen
from hyperdex_tui.screens.compare import CompareScreen
from hyperdex_tui.widgets.instruction_detail import InstructionDetail
from hyperdex_tui.widgets.instruction_list import InstructionList

_REST_SECONDS = 0.15
"""The cursor rests this long before its neighbours are looked up."""

_TALL_FROM = 40
"""Rows of the terminal from which on the detail pane starts tall."""


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
        self._matches: array[int] = array("i")
        self._working = ""
        self._times: array[float] = array("d")
        self._edges: dict[str, list[int]] = {}
        self._jumps: list[int] = []
        self._rest: asyncio.TimerHandle | None = None
        self._looking = 0
        self._listing: Listing | None = None
        self._inspector: Inspector | None = None

    def compose_body(self) -> ComposeResult:
        """List and detail."""
        yield InstructionList()
        yield InstructionDetail()

    @property
    def rows(self) -> InstructionList:
        """The list."""
        return self.query_one(InstructionList)

    def on_mount(self) -> None:
        """Open the program in a thread."""
        self.query_one(InstructionDetail).set_class(self.app.size.height >= _TALL_FROM, "tall")
        self.rows.cycles = self.query_one(InstructionDetail).cycles = self._cycles
        self.run_worker(self._open(), group="open")

    async def _open(self) -> None:
        try:
            program: Program = await asyncio.to_thread(open_program, self._folder)
        except HyperDexError as error:
            self.rows.problem = str(error)
            self.rows.rows_changed()
            return
        self._listing = Listing(program)
        self._inspector = Inspector(self._folder, program.count)
        if program.note:
            self.say(program.note, "warning")
        self.focus_on(self._pc, self._region)

    def on_unmount(self) -> None:
        """Let go of the file and end what computes."""
        if self._rest is not None:
            self._rest.cancel()
        if self._inspector is not None:
            self._inspector.close()
        if self._listing is not None:
            self._listing.program.close()

    def focus_on(self, pc: int, region: str) -> None:
        """Show instruction `pc`, and only those that use `region` when one is named."""
        if self._listing is None:
            self._pc, self._region = pc, region
            return
        if region:
            self._show(pc)
            self.run_worker(self._find(region_query(region), f"region {region}", filters=True), group="search")
            return
        if pc >= 0 and self._listing.is_filtered:
            self._show_filter("", None)
        if pc >= 0:
            section = self._listing.program.section_at(pc)
            self._listing.fold(section, False)
        self._show(pc)

    def _show(self, pc: int) -> None:
        if self._listing is not None:
            self.rows.show(self._listing, pc)
            self._count_rows()

    def _count_rows(self) -> None:
        """The right part of the title bar: what runs, what is shown, which match this is."""
        if self._listing is None:
            return
        count = self._listing.program.count
        if self._working:
            self.note(f"{self._working}, Esc cancels")
        elif self._filter:
            self.note(f"{self._listing.row_count:,} of {count:,}: {self._filter}")
        elif self._search:
            place = bisect_right(self._matches, self._current_pc()) if self._matches else 0
            self.note(f"match {place:,} of {len(self._matches):,}: {self._search}")
        else:
            self.note(f"{count:,} instructions")

    def _show_filter(self, title: str, matches: array[int] | None) -> None:
        assert self._listing is not None
        pc = self._current_pc()
        self._filter = title
        self._listing.show_matches(matches)
        self._show(pc)

    def _current_pc(self) -> int:
        """The instruction under the cursor, or the first of the section."""
        row = self.rows.current
        if row is None or self._listing is None:
            return 0
        return row.pc if row.pc >= 0 else self._listing.program.sections[row.section].begin

    def on_row_moved(self, event: RowMoved) -> None:
        """Decode the row into the detail pane; its neighbours follow when the cursor rests."""
        if self._listing is None:
            return
        row = self.rows.current
        self._edges = {}
        self.query_one(InstructionDetail).show_row(self._listing.program, row)
        if self._search and not self._filter:
            self._count_rows()
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if row is not None and row.pc >= 0:
            self._rest = asyncio.get_running_loop().call_later(_REST_SECONDS, self._rested, row.pc)

    def _rested(self, pc: int) -> None:
        self._rest = None
        if self.is_running and self._inspector is not None and not self._working:
            self._looking += 1
            self.run_worker(self._look_around(self._inspector, pc), group="neighbours")

    @property
    def is_settled(self) -> bool:
        """Whether nothing more appears by itself."""
        return self._rest is None and not self._looking and not self._working

    async def _look_around(self, inspector: Inspector, pc: int) -> None:
        try:
            found, _ = await inspector.ask({"do": "neighbours", "pc": pc})
        except InspectionError as error:
            self.query_one(InstructionDetail).show_trouble(pc, str(error))
            return
        finally:
            self._looking -= 1
        sides = {side: [(edge["pc"], edge["through"]) for edge in found[side]] for side in ("producers", "consumers")}
        if pc == self._current_pc():
            self._edges = {side: [edge[0] for edge in edges] for side, edges in sides.items()}
            detail = self.query_one(InstructionDetail)
            detail.show_edges(pc, sides["producers"], sides["consumers"], found["is_complete"])

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
            if {"start", "end"} & set(chosen) and not self._times:
                self.action_cycles()

    def action_detail(self) -> None:
        """Tall or short detail pane."""
        self.query_one(InstructionDetail).toggle_class("tall")

    def action_filter(self) -> None:
        """Type a filter."""
        self._open_query("filter", self._filter)

    def action_search(self) -> None:
        """Type a search."""
        self._open_query("search", self._search)

    def _open_query(self, purpose: str, initial: str) -> None:
        if self._inspector is not None:
            self.run_worker(self._inspector.warm_up(), group="warm-up")
        self.open_prompt(purpose, f"{purpose} ", initial, HINT)

    def action_filter_tensor(self) -> None:
        """Show only the instructions of the same tensor."""
        row = self.rows.current
        node = self._listing.program.node(row.pc) if self._listing and row and row.pc >= 0 else None
        if node is None:
            self.say("this instruction belongs to no tensor")
        elif self._filter:
            self._show_filter("", None)
        else:
            self.run_worker(self._find(tensor_query(str(node)), f"tensor {node}", filters=True), group="search")

    def action_compare(self) -> None:
        """Type the build to compare with."""
        shown = other_programs(self._folder)
        hint = "another build of this model, or an instruction folder (…/inst/BUILD) of another prefix"
        self.open_prompt("compare", "compare with ", shown[0] if shown else "", hint)

    def _compare(self, text: str) -> None:
        """Show both; a bare name is a build of the same model."""
        other = Path(text).expanduser() if "/" in text else self._folder.parent / text
        if not text or not other.is_dir():
            self.say(f"there is no build {text!r}", "warning")
        else:
            self.app.push_screen(CompareScreen(self._folder, other, self.model_id, self.build))

    def action_goto(self) -> None:
        """Type a place."""
        self.open_prompt("goto", "go to ", "", "index, label, layer 3, or 0x… byte of the program file")

    def action_cycles(self) -> None:
        """Type the position of the token that is timed."""
        if self._listing is not None:
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

    def _query(self, text: str, *, filters: bool) -> None:
        try:
            terms = parse_query(text)
        except QueryError as error:
            self.say(str(error), "warning")
            return
        if terms:
            self.run_worker(self._find(terms, text, filters=filters), group="search")
        elif filters:
            self._show_filter("", None)
        else:
            self._forget_matches()

    async def _find(self, terms: tuple[Term, ...], title: str, *, filters: bool) -> None:
        """Search the whole program; show what was found."""
        if self._inspector is None:
            return
        self._inspector.interrupt()  # a search that still runs, for which nobody waits any more
        try:
            found = await self._inspector.search(terms, lambda part: self._work(f"searching, {part:.0%}"))
        except Interrupted:
            return
        except InspectionError as error:
            self.say(f"cannot search: {error}", "error")
            return
        finally:
            self._work("")
        if filters:
            self._show_filter(title, found)
            return
        self._search, self._matches = title, found
        self.rows.marks.matches = found
        if not found:
            self.say(f"nothing matches {title!r}", "warning")
        self.rows.refresh()
        self._step(1, here=True)

    def _work(self, title: str) -> None:
        """Say what runs; "" when nothing does any more."""
        self._working = title
        if self.is_running:
            self._count_rows()

    def _forget_matches(self) -> None:
        self._search, self._matches = "", array("i")
        self.rows.marks.matches = self._matches
        self.rows.refresh()
        self._count_rows()

    def action_search_next(self) -> None:
        """Next match."""
        self._step(1)

    def action_search_previous(self) -> None:
        """Previous match."""
        self._step(-1)

    def _step(self, step: int, *, here: bool = False) -> None:
        """To the next or previous match, around the end; `here`: the cursor's own row counts."""
        if not self._matches:
            if not self._search:
                self.say("nothing is searched for: / does")
            return
        pc = self._current_pc()
        row = self.rows.current
        on_title = row is not None and row.pc < 0
        if step > 0:
            at = bisect_left(self._matches, pc) if here or on_title else bisect_right(self._matches, pc)
        else:
            at = bisect_left(self._matches, pc) - 1
        self._jump(self._matches[at % len(self._matches)])

    def _goto(self, text: str) -> None:
        if self._listing is None:
            return
        pc = _place(self._listing.program, text)
        if 0 <= pc < self._listing.program.count:
            self._jump(pc)
        else:
            self.say(f"no instruction {text!r}: indices are 0 to {self._listing.program.count - 1:,}", "warning")

    def _jump(self, pc: int) -> None:
        """Go to an instruction; `jump_back` returns."""
        self._jumps.append(self._current_pc())
        if self._listing is not None and self._listing.is_filtered and self._listing.shows(pc):
            self.rows.move_to(self._listing.row_of(pc))
        else:
            self.focus_on(pc, "")

    def action_jump_back(self) -> None:
        """Back to where the last jump began."""
        if self._jumps:
            self.focus_on(self._jumps.pop(), "")
        else:
            self.say("no jump to go back from")

    def action_producer(self) -> None:
        """To the nearest instruction that makes what this one reads."""
        self._follow("producers", "no instruction of the program makes what this one reads")

    def action_consumer(self) -> None:
        """To the first instruction that reads what this one makes."""
        self._follow("consumers", "no instruction of the program reads what this one makes")

    def _follow(self, side: str, nobody: str) -> None:
        if self._edges.get(side):
            self._jump(self._edges[side][0])
        elif self._edges:
            self.say(nobody)

    def action_mark_ab(self) -> None:
        """Mark or unmark the line; the second mark shows how the two are related."""
        row = self.rows.current
        if self._listing is None or row is None or row.pc < 0:
            return
        lines = self.rows.marks.lines
        if row.pc in lines:
            lines.remove(row.pc)
        else:
            lines[:] = [*lines[-1:], row.pc]
        self.rows.refresh()
        if len(lines) == 2:
            self.run_worker(self._relate(*sorted(lines)), group="relation")

    async def _relate(self, first: int, second: int) -> None:
        if self._inspector is None:
            return
        try:
            found, _ = await self._inspector.ask({"do": "relation", "first": first, "second": second})
        except InspectionError as error:
            self.query_one(InstructionDetail).show_relation(first, second, [], [], str(error))
            return
        chain = [(edge["pc"], edge["through"]) for edge in found["chain"]]
        self.query_one(InstructionDetail).show_relation(first, second, found["direct"], chain)

    def _time(self, text: str) -> None:
        assert self._listing is not None
        last = self._listing.program.manifest.max_length - 1
        if text.isdecimal() and int(text) <= last:
            self.run_worker(self._calculate(int(text)), group="cycles")
        else:
            self.say(f"positions are 0 to {last}, not {text!r}", "warning")

    async def _calculate(self, position: int) -> None:
        """Ask for the cycles of a token and show their columns."""
        if self._inspector is None:
            return
        self._work(f"timing the token at {position}")
        try:
            _, content = await self._inspector.ask({"do": "cycles", "position": position})
        except Interrupted:
            return
        except InspectionError as error:
            self.say(f"no cycles: {error}", "error")
            return
        finally:
            self._work("")
        self._times = array("d", content)
        columns = self.rows.chosen
        self.rows.chosen = (*columns, *(name for name in ("start", "end") if name not in columns))
        self.rows.refresh()
        if self._listing is not None:
            self.query_one(InstructionDetail).show_row(self._listing.program, self.rows.current)

    def _cycles(self, pc: int) -> tuple[float, float] | None:
        """Start and end of an instruction in the token that was timed."""
        if 2 * pc + 1 >= len(self._times) or self._times[2 * pc] != self._times[2 * pc]:
            return None
        return self._times[2 * pc], self._times[2 * pc + 1]

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
        section = program.sections.of_layer(int(number))
        return program.sections[section].begin if section >= 0 else -1
    if text.lower().startswith("0x"):
        try:
            return (int(text, 16) - HEADER_BYTES) // INSTRUCTION_BYTES
        except ValueError:
            return -1
    plain = text.lstrip("@").replace(",", "")
    return int(plain) if plain.isdecimal() and len(plain) < 12 else -1
