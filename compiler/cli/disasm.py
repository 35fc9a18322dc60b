"""`hyperdex disasm`: the listing of a build's program, which `hyperdex asm` reads back."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli.answer import answer, json_option
from compiler.cli.options import build_option, examples, model_argument, prefix_option
from compiler.cli.output import warn
from compiler.cli.selection import open_workspace, select_build
from compiler.errors import ArtifactError, AssemblyError, UsageError

if TYPE_CHECKING:
    from compiler.artifacts.reader import Build
    from compiler.isa.encode import Instruction

UNITS = ("SMA", "SXE", "VXE", "ESL", "ICP")


@click.command(
    name="disasm",
    epilog=examples(
        "hyperdex disasm hyperdex/demo --layer 0 --unit sxe",
        "hyperdex disasm hyperdex/demo --grep 'q_proj'",
        "hyperdex disasm hyperdex/demo | hyperdex asm - -o program.bin",
    ),
)
@model_argument
@prefix_option
@build_option
@click.option("--layer", type=click.IntRange(min=0), metavar="L", help="Only this decoder layer, from 0.")
@click.option("--unit", type=click.Choice(UNITS, case_sensitive=False), help="Only this unit.")
@click.option("--grep", metavar="RE", help="Only lines in which this regular expression is found.")
@json_option("One JSON object with every field of every instruction.")
def command(
    model_id: str,
    prefix: Path | None,
    build: str | None,
    layer: int | None,
    unit: str | None,
    grep: str | None,
    as_json: bool,
) -> None:
    """List the program of MODEL_ID: index, operands, and the tensor behind each instruction.

    The whole listing, without a filter, assembles to the same program.
    """
    from compiler.artifacts.reader import open_build
    from compiler.isa.text import format_program

    pattern = _compile_pattern(grep)
    folder = open_workspace(prefix).model(model_id)
    name = select_build(folder, build)
    opened = open_build(folder.param(name), folder.inst(name))
    instructions = decode_build(opened)
    _check_layer(opened, layer)
    comments = [_comment(opened, index) for index in range(len(instructions))]
    labels = {label: at for label, at in opened.debug.labels.items() if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", label)}
    if not as_json and layer is None and unit is None and pattern is None:
        sys.stdout.write(format_program(instructions, labels, comments))
        return
    lines = _lines(instructions, labels, comments)

    def is_wanted(index: int) -> bool:
        node = opened.debug.node_of(index)
        return (
            (layer is None or (node is not None and node.source.layer == layer))
            and (unit is None or instructions[index].spec.unit.value == unit)
            and (pattern is None or pattern.search(lines[index]) is not None)
        )

    wanted = [index for index in range(len(instructions)) if is_wanted(index)]
    if as_json:
        rows = [_row(opened, index, instructions[index], lines[index]) for index in wanted]
        answer({"model_id": folder.model_id, "build": name, "labels": labels, "instructions": rows})
        return
    sys.stdout.write("".join(f"{lines[index]}\n" for index in wanted))
    if not wanted:
        warn("no instruction passes these filters")


def _check_layer(build: Build, layer: int | None) -> None:
    """Refuse a decoder layer that the model does not have.

    Raises:
        UsageError: naming those it has.
    """
    count = build.manifest.num_layers
    if layer is not None and layer >= count:
        raise UsageError(f"--layer {layer} is not in 0..{count - 1}, the decoder layers of {build.manifest.model_id}")


def _compile_pattern(grep: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(grep) if grep is not None else None
    except re.error as error:
        raise UsageError(f"--grep {grep!r} is not a regular expression: {error}") from None


def decode_build(build: Build) -> list[Instruction]:
    """Every instruction.

    Raises:
        ArtifactError: a word is not an instruction.
    """
    from compiler.isa.encode import decode_program

    try:
        return decode_program(build.program_words.astype("<i4").tobytes())
    except AssemblyError as error:
        raise ArtifactError(f"the program of {build.inst_dir.name} is damaged: {error}", "compile it again") from None


def _comment(build: Build, index: int) -> str:
    """`layer N tensor`, as far as it is known."""
    node = build.debug.node_of(index)
    if node is None:
        return ""
    layer = f"layer {node.source.layer} " if node.source.layer >= 0 else ""
    return f"{layer}{node}"


def _lines(instructions: list[Instruction], labels: dict[str, int], comments: list[str]) -> list[str]:
    """One line per instruction, without label lines: what a filtered listing shows."""
    from compiler.isa.text import format_instruction
    from compiler.sanitize import printable

    names = {index: label for label, index in labels.items()}
    write: Callable[[Instruction], str] = lambda instr: format_instruction(instr, names)  # noqa: E731
    texts = [f"{index:06d}: {write(instr)}" for index, instr in enumerate(instructions)]
    return [
        f"{text:<88} ; {printable(comment)}" if comment else text for text, comment in zip(texts, comments, strict=True)
    ]


def _row(build: Build, index: int, instr: Instruction, line: str) -> dict[str, Any]:
    """One instruction as JSON; `offset` is its byte in the program file."""
    from compiler.header import HEADER_BYTES
    from compiler.isa.spec import INSTRUCTION_BYTES

    node = build.debug.node_of(index)
    regions = build.debug.regions
    return {
        "index": index,
        "offset": HEADER_BYTES + index * INSTRUCTION_BYTES,
        "mnemonic": instr.mnemonic,
        "group": instr.spec.group,
        "unit": instr.spec.unit.value,
        "operands": {operand.name: value for operand, value in zip(instr.spec.operands, instr.values, strict=True)},
        "text": line.split(": ", 1)[1].split(" ; ", 1)[0].rstrip(),
        "node": node.name if node else None,
        "op": node.op if node else None,
        "layer": node.source.layer if node else -1,
        "module": node.source.module if node else "",
        "tensor": node.source.tensor if node else "",
        "region": regions[index] if index < len(regions) else "",
    }
