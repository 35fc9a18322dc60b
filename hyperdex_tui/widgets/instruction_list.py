"""The instruction list: decodes the rows in sight and no others."""

from __future__ import annotations

from typing import NamedTuple

from hyperdex_tui.backend.listing import Listing, Row
from hyperdex_tui.formatting import cut_left, pad, pad_left
from hyperdex_tui.widgets.painted import Line, line
from hyperdex_tui.widgets.row_list import RowList

_MNEMONIC = 11
_TEXT_LIMIT = 72
"""Cells of the instruction column beyond which a region column appears."""


class Columns(NamedTuple):
    """Cells of each column; 0 leaves it out."""

    number: int
    text: int
    tensor: int
    region: int


class InstructionList(RowList):
    """Columns: index, unit, instruction, tensor."""

    def __init__(self) -> None:
        super().__init__(id="instructions")
        self._listing: Listing | None = None
        self.problem = ""

    def show(self, listing: Listing, pc: int) -> None:
        """Show a listing with the cursor on `pc`."""
        self._listing = listing
        self.rows_changed(listing.row_of(max(0, pc)))

    @property
    def current(self) -> Row | None:
        """Where the cursor is."""
        if self._listing is None or not self._listing.row_count:
            return None
        return self._listing.row(min(self.cursor, self._listing.row_count - 1))

    def row_count(self) -> int:
        """Rows of the listing."""
        return self._listing.row_count if self._listing is not None else 0

    def _columns(self, width: int) -> Columns:
        count = self._listing.program.count if self._listing is not None else 0
        index = max(5, len(str(count)))
        rest = width - index - 7
        tensor = max(24, rest // 3) if rest >= 56 else max(0, rest - 34)
        text = rest - tensor - 1
        region = 0
        if text > _TEXT_LIMIT + 16:  # a wide terminal: keep the columns together and name the region too
            region = min(40, text - _TEXT_LIMIT)
            text = _TEXT_LIMIT
        return Columns(index, text, min(tensor, 64), region)

    def heading(self, width: int) -> Line:
        """Column titles."""
        cells = self._columns(width - 2)
        title = f"  {pad_left('index', cells.number)}  {pad('unit', 5)}{pad('instruction', cells.text)} "
        title += pad("tensor", cells.tensor) + ("  region" if cells.region else "")
        return line((pad(title, width), "head"))

    def row(self, index: int, width: int) -> Line:
        """A section title or an instruction."""
        assert self._listing is not None
        row, program = self._listing.row(index), self._listing.program
        if row.pc < 0:
            section = program.sections[row.section]
            mark = "▸" if self._listing.is_folded(row.section) else "▾"
            size = section.end - section.begin
            return line(
                (f"{mark} {section.title}", "accent"), (f"  {size:,} instructions from {section.begin:,}", "dim")
            )
        cells = self._columns(width)
        decoded = program.instruction(row.pc)
        unit = decoded.spec.unit.value if decoded is not None else "???"
        opcode, _, operands = program.text(row.pc).partition(" ")
        if decoded is None:
            opcode, operands = program.text(row.pc), ""
        used = min(max(_MNEMONIC, len(opcode) + 1), cells.text)
        return line(
            (pad_left(str(row.pc), cells.number), "dim"),
            ("> ", "accent") if row.pc in program.labels else ("  ", "dim"),
            (f"{unit:<5}", f"unit-{unit}" if decoded is not None else "bad"),
            (pad(opcode, used), "strong" if decoded is not None else "bad"),
            (pad(operands.strip(), cells.text - used) + " ", "text"),
            (pad(cut_left(program.short_source(row.pc), cells.tensor), cells.tensor), "dim"),
            ("  " + cut_left(program.region(row.pc), cells.region) if cells.region else "", "dim"),
        )

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """Opening, failed, or nothing matches."""
        if self.problem:
            return (
                line((f"  ✗ {self.problem}", "bad")),
                line(("  Esc goes back; c on the model compiles it again.", "dim")),
            )
        if self._listing is None:
            return (line(("  Opening the program …", "dim")),)
        return (line(("  No instruction matches. Esc shows all.", "dim")),)
