"""The program around the machine's next instruction: an arrow at the pc, a dot at breakpoints."""

from __future__ import annotations

from hyperdex_tui.backend.program import Program
from hyperdex_tui.formatting import cut_left, pad, pad_left
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.painted import COMPILE_AGAIN, Line, line, problem_lines
from hyperdex_tui.widgets.row_list import RowList

_TEXT_LEAST, _TEXT_MOST = 34, 78


class MachineListing(RowList):
    """One row per instruction; the cursor follows the pc when the machine stops."""

    def __init__(self) -> None:
        super().__init__(id="machine-listing")
        self._program: Program | None = None
        self._pc = -1
        self._sites: dict[int, int] = {}
        self.problem = ""

    def open(self, program: Program, pc: int) -> None:
        """Show a program with the cursor on `pc`; -1: where the machine stands, if it has said so."""
        self._program = program
        self.rows_changed(max(0, pc if pc >= 0 else self._pc))  # behind the last one it ends on that

    def stand(self, pc: int, sites: dict[int, int], *, follow: bool) -> None:
        """The machine's next instruction, and instruction -> breakpoint."""
        moved = pc != self._pc
        if moved or sites != self._sites:
            self._pc, self._sites = pc, sites
            if follow and moved and pc >= 0 and self.row_count():
                self.rows_changed(pc)
            else:
                self.refresh()

    def row_count(self) -> int:
        """Instructions."""
        return self._program.count if self._program is not None else 0

    def columns(self) -> tuple[str, ...]:
        """For copying."""
        return ("index", "breakpoint", "next", "text", "source")

    def cells(self, index: int) -> tuple[Cell, ...]:
        """One instruction."""
        assert self._program is not None
        node = self._program.node(index)
        text = self._program.text(index)
        return index, self._sites.get(index), index == self._pc, text, str(node) if node is not None else ""

    def _widths(self, width: int) -> tuple[int, int, int]:
        number = max(5, len(str(self.row_count())))
        rest = max(0, width - number - 8)
        text = min(_TEXT_MOST, max(min(_TEXT_LEAST, rest), rest * 3 // 5))
        return number, text, max(0, rest - text - 1)

    def heading(self, width: int) -> Line:
        """Column titles."""
        number, text, source = self._widths(width - 2)
        return line(
            (
                pad(f"  {'':6}{pad_left('index', number)}  {pad('instruction', text)} {pad('source', source)}", width),
                "head",
            )
        )

    def row(self, index: int, width: int) -> Line:
        """Marks, index, instruction, source."""
        assert self._program is not None
        number, text, source = self._widths(width)
        decoded = self._program.instruction(index)
        unit = decoded.spec.unit.value if decoded is not None else ""
        site = self._sites.get(index)
        return line(
            (f"●{site:<2}" if site is not None else "   ", "bad"),
            (self._arrow(index), "accent"),
            (pad_left(str(index), number) + "  ", "dim"),
            (pad(self._program.text(index), text), f"unit-{unit}" if unit else "bad"),
            (" " + cut_left(self._program.short_source(index), source), "dim"),
        )

    def _arrow(self, index: int) -> str:
        """Three cells: before the next instruction, or behind the last one once the program has ended."""
        if index == self._pc:
            return "=> "
        return "==|" if index == self.row_count() - 1 < self._pc else "   "

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """Opening, or failed."""
        if self.problem:
            return problem_lines(self.problem, width, COMPILE_AGAIN)
        return (line(("  Opening the program …", "dim")),)
