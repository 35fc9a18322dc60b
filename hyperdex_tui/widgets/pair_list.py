"""The operations of two programs beside each other, each with its instructions when it is unfolded."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.quantity import change_text
from hyperdex_tui.backend.comparison import Pair, Side, side_by_side
from hyperdex_tui.backend.program import Program
from hyperdex_tui.formatting import cut_left, pad, pad_left
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.painted import Line, Span, line, problem_lines
from hyperdex_tui.widgets.row_list import RowList

CHANGES: dict[str, tuple[str, str, str]] = {
    "same": ("=", "dim", "the same but for addresses"),
    "operands": ("~", "warn", "the same instructions with other sizes"),
    "instructions": ("≠", "bad", "other instructions"),
    "left": ("-", "bad", "only on the left"),
    "right": ("+", "good", "only on the right"),
}
"""Sign, role and meaning of each kind of change."""

_COUNT, _CYCLES, _CHANGE = 7, 11, 8


@dataclass(frozen=True, slots=True)
class PairRow:
    """An operation, or with `pcs` a line of its instructions."""

    pair: int
    pcs: tuple[int, int] | None = None


class PairList(RowList):
    """Columns: sign, operation, instructions and cycles of both sides, change of the cycles."""

    def __init__(self) -> None:
        super().__init__(id="pairs")
        self._pairs: tuple[Pair, ...] = ()
        self._programs: tuple[Program, Program] | None = None
        self._unfolded: dict[int, list[tuple[int, int]]] = {}
        self._rows: list[PairRow] = []
        self.only_changes = False
        self.problem = ""
        self.working = ""

    def show(self, pairs: tuple[Pair, ...], left: Program, right: Program) -> None:
        """Show an alignment."""
        self._pairs, self._programs = pairs, (left, right)
        self._unfolded = {}
        self.lay_out()

    def lay_out(self) -> None:
        """Make the rows anew; the cursor stays on its operation."""
        pair = self.current.pair if self.current is not None else 0
        self._rows = []
        for index, each in enumerate(self._pairs):
            if self.only_changes and each.change == "same":
                continue
            self._rows.append(PairRow(index))
            self._rows += [PairRow(index, pcs) for pcs in self._unfolded.get(index, ())]
        at = next((row for row, each in enumerate(self._rows) if each.pair >= pair), 0)
        self.rows_changed(at)

    def fold(self) -> None:
        """Fold or unfold the operation under the cursor."""
        if self.current is None or self._programs is None:
            return
        index = self.current.pair
        if self._unfolded.pop(index, None) is None:
            self._unfolded[index] = side_by_side(*self._programs, self._pairs[index])
        self.lay_out()

    @property
    def current(self) -> PairRow | None:
        """Where the cursor is."""
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    @property
    def current_pair(self) -> Pair | None:
        """The operation under the cursor."""
        return self._pairs[self.current.pair] if self.current is not None else None

    def to_change(self, step: int) -> bool:
        """To the next or previous operation that differs; False when there is none."""
        at = self.cursor + step
        while 0 <= at < len(self._rows):
            if self._rows[at].pcs is None and self._pairs[self._rows[at].pair].change != "same":
                self.move_to(at)
                return True
            at += step
        return False

    def row_count(self) -> int:
        """Operations and unfolded instructions."""
        return len(self._rows)

    def columns(self) -> tuple[str, ...]:
        """For copying and export."""
        return ("change", "operation", "left_instructions", "left_cycles", "right_instructions", "right_cycles", "text")

    def cells(self, index: int) -> tuple[Cell, ...]:
        """One operation, or one line of instructions under `text`."""
        row = self._rows[index]
        pair = self._pairs[row.pair]
        if row.pcs is not None:
            return (pair.change, pair.name, None, None, None, None, " | ".join(self._texts(row.pcs)))
        sides = [(side.count, side.cycles) if side is not None else (None, None) for side in (pair.left, pair.right)]
        return (pair.change, pair.name, *sides[0], *sides[1], None)

    def _texts(self, pcs: tuple[int, int]) -> list[str]:
        assert self._programs is not None
        both = zip(self._programs, pcs, strict=True)
        return [f"{pc} {' '.join(program.text(pc).split())}" if pc >= 0 else "" for program, pc in both]

    def _name_cells(self, width: int) -> int:
        return max(12, min(64, width - 2 - 2 * (_COUNT + _CYCLES) - _CHANGE - 1))

    def heading(self, width: int) -> Line:
        """Column titles."""
        side = pad_left("instr", _COUNT) + pad_left("cycles", _CYCLES)
        title = f"  {pad('  operation', self._name_cells(width - 2) + 2)}{side}{side}{pad_left('change', _CHANGE)}"
        return line((pad(title, width), "head"))

    def row(self, index: int, width: int) -> Line:
        """One operation, or the same instruction on both sides."""
        row = self._rows[index]
        pair = self._pairs[row.pair]
        if row.pcs is not None:
            half = (width - 5) // 2
            left, right = (pad(text, half) for text in self._texts(row.pcs))
            role = "text" if _differs(left, right) else "dim"
            return line("  ", (left, role), (" │ ", "dim"), (right, role))
        sign, role, _ = CHANGES[pair.change]
        spans: list[Span] = [
            (f"{sign} ", role),
            (pad(cut_left(pair.name, self._name_cells(width)), self._name_cells(width)), "text"),
        ]
        spans.append((_side_text(pair.left) + _side_text(pair.right), "text"))
        spans.append((pad_left(_change(pair), _CHANGE), role))
        return spans

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """Working, failed, or no change."""
        if self.problem:
            return problem_lines(self.problem, width, "Esc goes back.")
        if self._programs is None:
            return (line((f"  {self.working or 'Aligning and timing both programs …'}", "dim")),)
        return (line(("  Nothing differs but addresses. D shows all operations.", "dim")),)


def _differs(left: str, right: str) -> bool:
    """Whether two lines differ in more than their index."""
    return left.partition(" ")[2] != right.partition(" ")[2]


def _side_text(side: Side | None) -> str:
    if side is None:
        return " " * (_COUNT + _CYCLES)
    return pad_left(f"{side.count:,}", _COUNT) + pad_left("" if side.cycles is None else f"{side.cycles:,.0f}", _CYCLES)


def _change(pair: Pair) -> str:
    """How the cycles of an operation changed, e.g. `-49 %`."""
    before = pair.left.cycles if pair.left is not None else None
    after = pair.right.cycles if pair.right is not None else None
    if not before or after is None:
        return ""
    return change_text(before, after)
