"""The instruction under the cursor: fields decoded, what they mean, where it comes from."""

from __future__ import annotations

from compiler.isa.encode import Instruction
from compiler.isa.spec import Effect
from compiler.isa.text import format_value
from hyperdex_tui.backend.listing import Row
from hyperdex_tui.backend.program import Program
from hyperdex_tui.widgets.painted import Line, Pane, Span, line, line_width

_ARROWS = {Effect.READ: "→", Effect.WRITE: "←", Effect.NONE: ""}
"""Reads go into the instruction, writes come out of it."""


class InstructionDetail(Pane):
    """A pane below the list."""

    def __init__(self) -> None:
        super().__init__(id="instruction-detail", classes="detail")

    def show_row(self, program: Program, row: Row | None) -> None:
        """Show an instruction or a section."""
        if row is None:
            self.show([])
        elif row.pc < 0:
            self.show(_section_lines(program, row.section))
        else:
            self.show(_instruction_lines(program, row.pc, max(20, self.size.width), max(4, self.size.height)))


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
    passes = ", ".join(f"{report.name} {report.before:,} → {report.after:,}" for report in program.debug.passes)
    if passes:
        lines.append(line(("passes: ", "dim"), passes))
    if program.note:
        lines.append(line(("! " + program.note, "warn")))
    return lines


def _instruction_lines(program: Program, pc: int, width: int, height: int) -> list[Line]:
    decoded = program.instruction(pc)
    word = program.word(pc)
    words = " ".join(f"{int.from_bytes(word[at : at + 4], 'little'):08x}" for at in range(0, len(word), 4))
    if decoded is None:
        return [line((f"{pc}: not an instruction of this version", "bad")), line(("words  ", "dim"), words)]
    spec = decoded.spec
    head = line(
        (f"{pc} ", "dim"),
        (spec.mnemonic, "strong"),
        (f"  {spec.group} on {spec.unit.value}  ", f"unit-{spec.unit.value}"),
        (spec.synopsis, "text"),
    )
    node = program.node(pc)
    region = program.region(pc)
    origin: list[Span] = [("from ", "dim"), (str(node) if node else "the control flow, no tensor", "text")]
    if node is not None:
        origin += [(f"  op {node.op}", "dim")]
    lines = [head, *_field_lines(decoded, program, width, height - 4), tuple(origin)]
    if region:
        lines.append(line(("region ", "dim"), (region, "accent"), (", Enter shows it in the memory map", "dim")))
    return [*lines, line(("words ", "dim"), words)]


def _field_lines(decoded: Instruction, program: Program, width: int, rows: int) -> list[Line]:
    """Fields side by side, in as many lines as there is room for."""
    lines: list[list[Span]] = [[]]
    for operand, value in zip(decoded.spec.operands, decoded.values, strict=True):
        if operand.optional and value == 0:
            continue
        shown = format_value(operand, value, program.labels)
        spans = [
            (f"{operand.name} ", "dim"),
            (f"{_ARROWS[operand.effect]}{shown}", "strong"),
            ("   ", "text"),
        ]
        if lines[-1] and line_width(lines[-1]) + line_width(spans) > width + 3:
            lines.append([])
        lines[-1] += spans
    return [tuple(spans) for spans in lines[: max(1, rows)]]
