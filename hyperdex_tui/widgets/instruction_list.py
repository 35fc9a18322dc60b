"""The instruction list: decodes the rows in sight and no others."""

from __future__ import annotations

from hyperdex_tui.backend.listing import Listing, Row
from hyperdex_tui.formatting import cut_left, pad, pad_left
from hyperdex_tui.widgets.painted import Line, line
from hyperdex_tui.widgets.row_list import RowList

_MNEMONIC = 15


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

    def _columns(self, width: int) -> tuple[int, int, int]:
        """Cells of index, instruction and tensor."""
        count = self._listing.program.count if self._listing is not None else 0
        index = max(5, len(str(count)))
        rest = width - index - 7
        tensor = max(20, min(60, rest * 2 // 5)) if rest >= 50 else max(0, rest - 34)
        return index, rest - tensor - 1, tensor

    def heading(self, width: int) -> Line:
        """Column titles."""
        index, text, tensor = self._columns(width - 2)
        title = f"  {pad_left('index', index)}  {pad('unit', 5)}{pad('instruction', text)} {pad('tensor', tensor)}"
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
        number, text_cells, tensor_cells = self._columns(width)
        decoded = program.instruction(row.pc)
        unit = decoded.spec.unit.value if decoded is not None else "???"
        text = program.text(row.pc)
        opcode, operands = text[:_MNEMONIC], text[_MNEMONIC:]
        if decoded is None:
            opcode, operands = text, ""
        label = program.labels.get(row.pc)
        return line(
            (pad_left(str(row.pc), number), "dim"),
            (">" if label else " ", "accent"),
            (f" {unit:<5}", f"unit-{unit}" if decoded is not None else "bad"),
            (pad(opcode, min(_MNEMONIC, text_cells)), "strong" if decoded is not None else "bad"),
            (pad(operands, text_cells - _MNEMONIC) + " ", "text"),
            (cut_left(program.source(row.pc), tensor_cells), "dim"),
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
