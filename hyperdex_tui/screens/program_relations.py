"""How instructions are related: producers and consumers, two marked lines, cycles of a token."""

from __future__ import annotations

from array import array

from hyperdex_tui.backend.inspector import InspectionError, Inspector, Interrupted
from hyperdex_tui.screens.program import ProgramScreen
from hyperdex_tui.widgets.instruction_detail import InstructionDetail


class ProgramRelations(ProgramScreen):
    """Asks the inspection processes about the instruction under the cursor, and about two marked ones."""

    def _rested(self, pc: int) -> None:
        self._rest = None
        if self.is_running and self._inspector is not None and not self._working:
            self._looking += 1
            self.run_worker(self._look_around(self._inspector, pc), group="neighbours")

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
        else:  # what was said of two lines goes, what is known of this one comes back
            self.query_one(InstructionDetail).show_row(self._listing.program, row)
            self._rested(row.pc)

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
        position = int(text[:12]) if text.isdecimal() else -1
        if 0 <= position <= last:
            self.run_worker(self._calculate(position), group="cycles")
        else:
            self.say(f"positions are 0 to {last}, not {text!r}", "warning")

    async def _calculate(self, position: int) -> None:
        """Ask for the cycles of a token and show their columns."""
        if self._inspector is None:
            return
        try:
            with self._at_work(f"timing the token at {position}"):
                _, content = await self._inspector.ask({"do": "cycles", "position": position})
        except Interrupted:
            return
        except InspectionError as error:
            self.say(f"no cycles: {error}", "error")
            return
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
