"""What every part of the instruction screen shares: the listing, the inspection processes, and moving about."""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hyperdex_tui.backend.inspector import Inspector
from hyperdex_tui.backend.listing import Listing
from hyperdex_tui.backend.query import Term, region_query
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.instruction_list import InstructionList


class ProgramScreen(AppScreen):
    """A screen around an instruction list; its subclasses add what can be done with it.

    Args:
        filter: query to begin with.
        columns: shown in the list; None: the usual ones.
    """

    def __init__(
        self,
        folder: Path,
        model_id: str,
        build: str,
        pc: int = -1,
        region: str = "",
        filter: str = "",
        *,
        columns: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(f"{model_id} › {build} › Instructions")
        self.model_id = model_id
        self.build = build
        self._folder = folder
        self._pc = pc
        self._region = region
        self.view_filter = filter
        self._columns = columns
        self._filter = ""
        self._search = ""
        self._matches: array[int] = array("i")
        self._working = ""
        self._work_number = 0
        self._times: array[float] = array("d")
        self._edges: dict[str, list[int]] = {}
        self._jumps: list[int] = []
        self._rest: asyncio.TimerHandle | None = None
        self._looking = 0
        self._listing: Listing | None = None
        self._inspector: Inspector | None = None

    @property
    def rows(self) -> InstructionList:
        """The list."""
        return self.query_one(InstructionList)

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

    def _current_pc(self) -> int:
        """The instruction under the cursor, or the first of the section."""
        row = self.rows.current
        if row is None or self._listing is None:
            return 0
        return row.pc if row.pc >= 0 else self._listing.program.sections[row.section].begin

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

    def _show_filter(self, title: str, matches: array[int] | None, typed: str = "") -> None:
        assert self._listing is not None
        pc = self._current_pc()
        self._filter, self.view_filter = title, typed
        self._listing.show_matches(matches)
        self._show(pc)

    @contextmanager
    def _at_work(self, title: str) -> Iterator[Callable[[str], None]]:
        """Say what runs until the block ends, or until newer work says what it is.

        Yields:
            what changes the title.
        """
        self._work_number += 1
        number = self._work_number

        def say(title: str) -> None:
            if number == self._work_number:
                self._working = title
                if self.is_there:
                    self._count_rows()

        say(title)
        try:
            yield say
        finally:
            say("")

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

    async def _find(self, terms: tuple[Term, ...], title: str, *, filters: bool, typed: bool = False) -> None:
        """Search the whole program; show what was found."""
        raise NotImplementedError
