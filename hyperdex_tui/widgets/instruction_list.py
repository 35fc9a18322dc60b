"""The instruction list: decodes the rows in sight and no others."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from compiler.header import HEADER_BYTES
from compiler.isa.spec import INSTRUCTION_BYTES
from hyperdex_tui.backend.listing import Listing, Row
from hyperdex_tui.backend.program import Program
from hyperdex_tui.formatting import cut_left, pad, pad_left
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.painted import COMPILE_AGAIN, Line, Span, line, problem_lines
from hyperdex_tui.widgets.row_list import RowList

_MNEMONIC = 11
_LEAST_TEXT = 34
_MOST_TEXT = 88

Cycles = Callable[[int], tuple[float, float] | None]
"""Start and end cycle of an instruction, None while unknown or when the token skips it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column that can be shown or left out.

    Attributes:
        name: as the chooser and the heading show it.
        width: cells; `most` > width: it takes more where there is room.
        is_default: shown before anyone chose.
        synopsis: one line for the chooser.
    """

    name: str
    width: int
    most: int
    is_default: bool
    synopsis: str


COLUMNS = (
    Column("byte", 9, 9, False, "Address: byte in the program file"),
    Column("unit", 5, 5, True, "Unit that executes it"),
    Column("start", 9, 9, False, "Cycle at which it starts, within its token (calculated)"),
    Column("end", 9, 9, False, "Cycle at which it ends, within its token (calculated)"),
    Column("op", 12, 16, False, "Operation of the graph it belongs to"),
    Column("tensor", 24, 64, True, "Hugging Face tensor, module or node it came from"),
    Column("region", 22, 40, True, "Memory region it reads or writes"),
    Column("word", 72, 72, False, "The eight 32-bit cells of the word in hex"),
)
"""Beside index and instruction, which are always there. Narrow terminals drop them from the right."""

TIMES = ("start", "end")
"""Columns of one token, which is chosen anew each time: they are not remembered."""

DEFAULT_COLUMNS = tuple(column.name for column in COLUMNS if column.is_default)


@dataclass(slots=True)
class Marks:
    """What is marked in the list besides the cursor.

    Attributes:
        matches: instructions a search found, ascending.
        lines: up to two marked instructions, shown as A and B.
    """

    matches: Sequence[int] = ()
    lines: list[int] = field(default_factory=list)

    def sign(self, pc: int, program: Program) -> Span:
        """Two cells before the index."""
        if pc in self.lines:
            return ("AB"[self.lines.index(pc)] + " ", "warn")
        at = bisect_left(self.matches, pc)
        if at < len(self.matches) and self.matches[at] == pc:
            return ("* ", "match-sign")
        return ("> ", "accent") if pc in program.labels else ("  ", "dim")


class InstructionList(RowList):
    """Columns: index, instruction, and those of COLUMNS that are chosen and fit."""

    def __init__(self) -> None:
        super().__init__(id="instructions")
        self._listing: Listing | None = None
        self.problem = ""
        self.marks = Marks()
        self.chosen: tuple[str, ...] = DEFAULT_COLUMNS
        self.cycles: Cycles = lambda pc: None
        self.follower: Callable[[], None] = lambda: None

    def follow(self) -> None:
        """The detail pane shows the row in the frame in which the cursor gets there."""
        self.follower()

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

    def columns(self) -> tuple[str, ...]:
        """Everything that is known of an instruction, whether its column is shown or not."""
        return (
            "index", "byte", "unit", "text", "start_cycle", "end_cycle",
            "op", "node", "tensor", "layer", "region", "word",
        )  # fmt: skip

    def cells(self, index: int) -> tuple[Cell, ...]:
        """One instruction; of a section title, its title and first instruction."""
        assert self._listing is not None
        row, program = self._listing.row(index), self._listing.program
        section = program.sections[row.section]
        if row.pc < 0:
            return (section.begin, None, None, section.title, *(None,) * 5, section.layer, None, None)
        decoded, node = program.instruction(row.pc), program.node(row.pc)
        times = self.cycles(row.pc) or (None, None)
        return (
            row.pc,
            HEADER_BYTES + row.pc * INSTRUCTION_BYTES,
            decoded.spec.unit.value if decoded is not None else None,
            " ".join(program.text(row.pc).split()),
            *times,
            node.op if node is not None else None,
            node.name if node is not None else None,
            str(node.source) if node is not None else None,
            section.layer,
            program.region(row.pc) or None,
            word_hex(program.word(row.pc)),
        )

    def _number_width(self) -> int:
        return max(5, len(str(self._listing.program.count if self._listing is not None else 0)))

    def _widths(self, width: int) -> dict[str, int]:
        """Cells of the columns that fit, and of the instruction under ""."""
        room = width - self._number_width() - 4 - _LEAST_TEXT - 1  # a cell stays free on the right
        shown: dict[str, int] = {}
        for column in COLUMNS:
            if column.name in self.chosen and column.width + 1 <= room:
                shown[column.name] = column.width
                room -= column.width + 1
        if "tensor" in self.chosen and "tensor" not in shown and room >= 10:
            shown["tensor"] = room - 1
            room = 0
        text = _LEAST_TEXT + min(room, _MOST_TEXT - _LEAST_TEXT) * 2 // 3
        room -= text - _LEAST_TEXT
        for column in COLUMNS:
            if column.name in shown and column.most > column.width:
                more = min(room, max(0, column.most - shown[column.name]))
                shown[column.name] += more
                room -= more
        shown[""] = text + min(room, max(0, _MOST_TEXT - text))
        return shown

    def heading(self, width: int) -> Line:
        """Column titles."""
        widths = self._widths(width - 2)
        parts = [f"    {pad_left('index', self._number_width())}  "]
        order = [name for name in widths if name in ("byte", "unit")]
        for name in [*order, "", *(name for name in widths if name and name not in order)]:
            title = name or "instruction"
            parts.append((pad_left if name in ("start", "end") else pad)(title, widths[name]) + " ")
        return line((pad("".join(parts), width), "head"))

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
        return self._instruction(program, row.pc, self._widths(width))

    def _instruction(self, program: Program, pc: int, widths: dict[str, int]) -> Line:
        decoded = program.instruction(pc)
        unit = decoded.spec.unit.value if decoded is not None else "???"
        opcode, _, operands = program.text(pc).partition(" ") if decoded is not None else (program.text(pc), "", "")
        text = widths[""]
        used = min(max(_MNEMONIC, len(opcode) + 1), text)
        left = pad_left(str(pc), self._number_width()) + "  "
        if "byte" in widths:
            left += pad(f"{HEADER_BYTES + pc * INSTRUCTION_BYTES:#x}", widths["byte"]) + " "
        if "unit" in widths:
            left += pad(unit, widths["unit"]) + " "
        spans: list[Span] = [  # one colour for what stands left: every change of style costs bytes on the line
            self.marks.sign(pc, program),
            (left + pad(opcode, used), f"unit-{unit}" if decoded is not None else "bad"),
            (pad(operands.strip(), text - used), "text"),
        ]
        for name, cells in widths.items():
            if name not in ("", "byte", "unit"):
                spans.append((" " + self._cell(name, program, pc, cells), "dim"))
        return spans

    def _cell(self, name: str, program: Program, pc: int, cells: int) -> str:
        if name in ("start", "end"):
            times = self.cycles(pc)
            return pad_left("·" if times is None else f"{times[name == 'end']:,.0f}", cells)
        if name == "word":
            return pad(word_hex(program.word(pc)), cells)
        if name == "region":
            return pad(cut_left(program.region(pc), cells), cells)
        if name == "op":
            node = program.node(pc)
            return pad(node.op if node is not None else "", cells)
        return pad(cut_left(program.short_source(pc), cells), cells)

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """Opening, failed, or nothing matches."""
        if self.problem:
            return problem_lines(self.problem, width, COMPILE_AGAIN)
        if self._listing is None:
            return (line(("  Opening the program …", "dim")),)
        return (line(("  No instruction matches. Esc shows all.", "dim")),)


def word_hex(word: bytes) -> str:
    """The cells of an instruction word, lowest first."""
    return " ".join(f"{int.from_bytes(word[at : at + 4], 'little'):08x}" for at in range(0, len(word), 4))
