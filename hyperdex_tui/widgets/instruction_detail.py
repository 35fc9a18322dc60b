"""The instruction under the cursor: fields decoded, what they mean, who it waits for, where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler.isa.encode import Instruction
from compiler.isa.spec import Effect, Kind, Operand
from compiler.isa.text import format_value
from compiler.quantity import counted
from hyperdex_tui.backend.listing import Row
from hyperdex_tui.backend.program import Program
from hyperdex_tui.formatting import cut, pad
from hyperdex_tui.widgets.instruction_list import Cycles, word_hex
from hyperdex_tui.widgets.painted import Line, Pane, Span, line, line_width

_ARROWS = {Effect.READ: "→", Effect.WRITE: "←", Effect.NONE: ""}
"""Reads go into the instruction, writes come out of it."""

_TALL = 11
"""Rows from which on every field has a line of its own."""

Edges = Sequence[tuple[int, str]]
"""Other instructions and the resource that connects them."""


class InstructionDetail(Pane):
    """A pane below the list; tall, it shows every field with its bits."""

    def __init__(self) -> None:
        super().__init__(id="instruction-detail", classes="detail")
        self._program: Program | None = None
        self._row: Row | None = None
        self._edges: Mapping[str, Edges] = {}
        self._extra: list[Line] = []
        self._is_complete = True
        self.cycles: Cycles = lambda pc: None

    @property
    def shown(self) -> Row | None:
        """The row it shows."""
        return self._row

    def show_row(self, program: Program, row: Row | None) -> None:
        """Show an instruction or a section."""
        self._program, self._row, self._edges, self._extra = program, row, {}, []
        self._draw()

    def show_edges(self, pc: int, producers: Edges, consumers: Edges, is_complete: bool) -> None:
        """Add what instruction `pc` waits for and who waits for it, if it is still the one shown."""
        if self._row is not None and self._row.pc == pc:
            self._edges = {"needs": producers, "feeds": consumers}
            if self._extra:
                return  # what the user asked for stands in their place
            self._is_complete = is_complete
            self._draw()

    def show_trouble(self, pc: int, problem: str) -> None:
        """Say why the neighbours of `pc` cannot be shown."""
        if self._row is not None and self._row.pc == pc:
            self._extra = [line(("! " + problem, "warn"))]
            self._draw()

    def show_relation(self, first: int, second: int, direct: Sequence[str], chain: Edges, problem: str = "") -> None:
        """Replace the neighbours by how two marked instructions are related, until the cursor moves."""
        spans: list[Span] = [("A-B ", "warn"), (f"{counted(second - first, 'instruction')} apart", "text")]
        times = (self.cycles(first), self.cycles(second))
        if times[0] is not None and times[1] is not None:
            spans.append((f", {times[1][0] - times[0][0]:,.0f} cycles from start to start", "text"))
        spans.append((f"; {second} " + "; ".join(direct) if direct else "; no direct dependence", "strong"))
        lines: list[Line] = [tuple(spans)]
        if problem:
            lines = [tuple(spans[:-1]), line(("! " + problem, "warn"))]
        elif len(chain) > 2:
            way = " → ".join(f"{pc} ({through})" if through else str(pc) for pc, through in chain)
            lines.append(line(("through ", "dim"), way))
        elif not chain and not direct:
            lines.append(line(("nothing that ", "dim"), str(second), (" reads comes from ", "dim"), str(first)))
        self._edges, self._extra = {}, lines
        self._draw()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._draw()

    def _draw(self) -> None:
        if self._program is None or self._row is None:
            self.show([])
        elif self._row.pc < 0:
            self.show(_section_lines(self._program, self._row.section))
        else:
            self.show(self._instruction_lines(self._program, self._row.pc))

    def _instruction_lines(self, program: Program, pc: int) -> list[Line]:
        width, height = max(20, self.size.width), max(4, self.size.height)
        decoded = program.instruction(pc)
        words = line(("words  ", "dim"), word_hex(program.word(pc)))
        if decoded is None:
            return [line((f"{pc}: not an instruction of this version", "bad")), words]
        spec = decoded.spec
        head: list[Span] = [
            (f"{pc} ", "dim"),
            (spec.mnemonic, "strong"),
            (f"  {spec.group} on {spec.unit.value}  ", f"unit-{spec.unit.value}"),
        ]
        times = self.cycles(pc)
        if times is not None:
            head.append((f"cycles {times[0]:,.0f} to {times[1]:,.0f}  ", "accent"))
        head.append((spec.synopsis, "text"))
        tail = [*self._edge_lines(width), *_origin_lines(program, pc, decoded), words]
        if height < _TALL:
            return [head, *_packed_fields(decoded, program, width, height - 1 - len(tail)), *tail]
        return [head, *_field_table(decoded, program, height - 1 - len(tail)), *tail]

    def _edge_lines(self, width: int) -> list[Line]:
        """One line: what it needs and what it feeds; or what stands in its place."""
        if self._extra or not self._edges:
            return self._extra
        spans: list[Span] = []
        for title, edges in self._edges.items():
            texts = [f"{pc} ({through})" for pc, through in edges]
            shown = ", ".join(texts) or "nothing in the program"
            spans += [(f"{title} ", "dim"), (cut(shown, max(12, width // 2 - 9)), "text"), ("   ", "text")]
        if not self._is_complete:
            spans.append(("… and further away", "dim"))
        return [tuple(spans)]


def _section_lines(program: Program, section: int) -> list[Line]:
    entry = program.sections[section]
    lines: list[Line] = [
        line((entry.title, "strong"), f"  instructions {entry.begin:,} to {entry.end - 1:,}"),
        line(
            ("Space", "accent"),
            " folds it, ",
            ("Z", "accent"),
            " folds all, ",
            ("[ ]", "accent"),
            " go from layer to layer",
        ),
    ]
    passes = ", ".join(f"{report.name} {report.before:,} → {report.after:,}" for report in program.passes)
    if passes:
        lines.append(line(("passes: ", "dim"), passes))
    if program.note:
        lines.append(line(("! " + program.note, "warn")))
    return lines


def _origin_lines(program: Program, pc: int, decoded: Instruction) -> list[Line]:
    """Tensor and op, then region and channel."""
    node = program.node(pc)
    origin: list[Span] = [("from ", "dim"), (str(node) if node else "the control flow, no tensor", "text")]
    if node is not None:
        origin += [(f"  op {node.op}", "dim"), (f"  node {node.name}" if node.name != str(node) else "", "dim")]
    lines: list[Line] = [tuple(origin)]
    region = program.region(pc)
    address = next(
        (int(value) for op, value in zip(decoded.spec.operands, decoded.values, strict=True) if op.name == "hbm"), None
    )
    if region:
        where: list[Span] = [("region ", "dim"), (region, "accent")]
        if address is not None:
            where.append((f" at {address:#x} of every channel{_channels(decoded)}", "text"))
        lines.append((*where, (", Enter shows it", "dim")))
    return lines


def _channels(decoded: Instruction) -> str:
    """Which channels hold what the instruction reads or writes."""
    rows = decoded.integer("rows") if decoded.mnemonic in ("rd.param", "rd.kv") else 0
    if rows and rows < 32:
        return f", rows in channels 0 to {rows - 1}" if rows > 1 else ", its row in channel 0"
    return ""


def _bits(operand: Operand) -> str:
    """Where the field lies, e.g. `0[13:8]`."""
    if operand.bits == 32:
        return f"{operand.word}[31:0]"
    return f"{operand.word}[{operand.low + operand.bits - 1}:{operand.low}]"


def _raw(operand: Operand, word: bytes) -> int:
    cell = int.from_bytes(word[4 * operand.word : 4 * operand.word + 4], "little")
    return cell >> operand.low & ((1 << operand.bits) - 1)


def _field_table(decoded: Instruction, program: Program, rows: int) -> list[Line]:
    """Every field: bits of the word, what is in them, what that means."""
    from compiler.isa.encode import encode

    word = encode(decoded)
    lines: list[Line] = [
        line((f"  {pad('cell[bits]', 12)}{pad('bits', 12)}{pad('field', 14)}{pad('value', 18)}", "dim"))
    ]
    unused: list[tuple[int, str]] = []
    lines.append(
        line(f"  {pad('0[7:0]', 12)}{pad(f'{decoded.spec.opcode:#x}', 12)}{pad('opcode', 14)}", decoded.mnemonic)
    )
    for operand, value in zip(decoded.spec.operands, decoded.values, strict=True):
        role = "dim" if operand.optional and value == 0 else "text"
        shown = f"{_ARROWS[operand.effect]}{format_value(operand, value, program.labels)}"
        text = (
            f"  {pad(_bits(operand), 12)}{pad(f'{_raw(operand, word):#x}', 12)}{pad(operand.name, 14)}{pad(shown, 18)}"
        )
        if operand.optional and value == 0:
            unused.append((len(lines), operand.name))
        lines.append(line((text, role), (_meaning(operand), "dim")))
    if len(lines) <= rows:
        return lines
    if unused:  # what is not used gives way first
        places = {place for place, _ in unused}
        lines = [each for place, each in enumerate(lines) if place not in places]
        names = ", ".join(name for _, name in unused)
        lines.append(line((f"  {pad('not used', 24)}{names}", "dim")))
    if len(lines) > rows:
        return [*lines[: rows - 1], line((f"  … {len(lines) - rows + 1} more fields", "dim"))]
    return lines


def _meaning(operand: Operand) -> str:
    """What the field is for, in words."""
    extent = f", {' × '.join(operand.extent)} elements" if operand.extent else ""
    verb = {Effect.READ: "read", Effect.WRITE: "written", Effect.NONE: ""}[operand.effect]
    unit = "bytes in each channel" if operand.kind is Kind.HBM else ""
    return "; ".join(part for part in (operand.synopsis, verb + extent if verb else "", unit) if part)


def _packed_fields(decoded: Instruction, program: Program, width: int, rows: int) -> list[Line]:
    """Fields side by side, in as many lines as there is room for."""
    lines: list[list[Span]] = [[]]
    for operand, value in zip(decoded.spec.operands, decoded.values, strict=True):
        if operand.optional and value == 0:
            continue
        shown = format_value(operand, value, program.labels)
        spans = [(f"{operand.name} {_ARROWS[operand.effect]}{shown}   ", "text")]
        if lines[-1] and line_width(lines[-1]) + line_width(spans) > width + 3:
            lines.append([])
        lines[-1] += spans
    return [tuple(spans) for spans in lines[: max(1, rows)]]
