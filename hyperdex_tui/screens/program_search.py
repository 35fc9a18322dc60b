"""Search and filter of the instruction list."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from compiler.quantity import percent_text
from hyperdex_tui.backend.inspector import InspectionError, Interrupted
from hyperdex_tui.backend.query import HINT, QueryError, Term, parse_query, tensor_query
from hyperdex_tui.screens.program import ProgramScreen


class ProgramSearch(ProgramScreen):
    """Finds rows in processes of their own; a search is kept until Esc."""

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

    def _query(self, text: str, *, filters: bool) -> None:
        try:
            terms = parse_query(text)
        except QueryError as error:
            self.say(str(error), "warning")
            return
        if terms:
            self.run_worker(self._find(terms, text, filters=filters, typed=True), group="search")
        elif filters:
            self._show_filter("", None)
        else:
            self._forget_matches()

    async def _find(self, terms: tuple[Term, ...], title: str, *, filters: bool, typed: bool = False) -> None:
        """Search the whole program; show what was found."""
        if self._inspector is None:
            return
        self._inspector.interrupt()  # a search that still runs, for which nobody waits any more
        try:
            with self._at_work("searching") as say:
                found = await self._inspector.search(terms, lambda part: say(f"searching, {percent_text(part)}"))
        except Interrupted:
            return
        except InspectionError as error:
            self.say(f"cannot search: {error}", "error")
            return
        if filters:
            self._show_filter(title, found, title if typed else "")
            return
        self._search, self._matches = title, found
        self.rows.marks.matches = found
        if not found:
            self.say(f"nothing matches {title!r}", "warning")
        self.rows.refresh()
        self._step(1, here=True)

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
