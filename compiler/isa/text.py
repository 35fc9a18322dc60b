"""Assembly text: a second notation of the same program. Derived from `isa.instructions`.

    [label:] [index:] mnemonic operand, operand, name=value ; comment

Operands without a default stand in table order; the others are written as
`name=value`. `parse(format(x)) == x`. A branch target is a label or `@index`. A float
is a finite decimal, or `f:` and the eight hex digits of its bits.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress

from compiler.errors import AssemblyError
from compiler.isa.encode import Instruction, Value, check_operand
from compiler.isa.instructions import BY_MNEMONIC
from compiler.isa.spec import REGISTER_COUNT, STREAM_COUNT, Kind, Operand, Spec
from compiler.sanitize import printable

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_LEAD = re.compile(r"\s*(?:(?P<label>[A-Za-z_][A-Za-z0-9_.]*):)?\s*(?:(?P<index>[0-9]+):)?\s*(?P<rest>.*)")
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+)")

NOTATION: dict[Kind, tuple[str, str]] = {
    Kind.LMU: ("v[", "]"),
    Kind.HBM: ("h[", "]"),
    Kind.IO: ("io[", "]"),
    Kind.REGISTER: ("r", ""),
    Kind.STREAM: ("s", ""),
    Kind.TABLE: ("t", ""),
    Kind.TARGET: ("@", ""),
    Kind.INT: ("", ""),
    Kind.COUNT: ("", ""),
    Kind.FLOAT: ("", ""),
}
"""What stands before and behind the number of an operand."""

_LIMITS = {Kind.REGISTER: REGISTER_COUNT, Kind.STREAM: STREAM_COUNT}


def format_value(operand: Operand, value: Value, labels: Mapping[int, str] | None = None) -> str:
    """One operand as assembly text; branch targets become labels where one is known."""
    if operand.kind is Kind.FLOAT:
        return _format_float(float(value))
    if operand.kind is Kind.TARGET and labels and int(value) in labels:
        return labels[int(value)]
    prefix, suffix = NOTATION[operand.kind]
    digits = f"{value:#x}" if operand.kind is Kind.HBM else str(value)
    return f"{prefix}{digits}{suffix}"


def format_instruction(instr: Instruction, labels: Mapping[int, str] | None = None) -> str:
    """One instruction as assembly text, without index, label or comment."""
    parts = []
    for operand, value in zip(instr.spec.operands, instr.values, strict=True):
        if not operand.optional:
            parts.append(format_value(operand, value, labels))
        elif value != 0 or math.copysign(1.0, value) < 0:
            parts.append(f"{operand.name}={format_value(operand, value, labels)}")
    return f"{instr.spec.mnemonic:<14} {', '.join(parts)}".rstrip()


def format_program(
    instructions: Sequence[Instruction], labels: Mapping[str, int] | None = None, comments: Sequence[str] = ()
) -> str:
    """A listing that `parse_program` reads back to the same instructions."""
    at: dict[int, list[str]] = {}
    for name, index in (labels or {}).items():
        at.setdefault(index, []).append(name)
    names = {index: found[0] for index, found in at.items()}
    lines: list[str] = []
    for index, instr in enumerate(instructions):
        lines.extend(f"{label}:" for label in at.get(index, ()))
        text = f"{index:06d}: {format_instruction(instr, names)}"
        comment = comments[index] if index < len(comments) else ""
        lines.append(f"{text:<88} ; {printable(comment)}" if comment else text)
    return "\n".join(lines) + "\n"


def parse_program(text: str, name: str = "<text>") -> list[Instruction]:
    """Read assembly text.

    Raises:
        AssemblyError: `file:line:column: what`, the line, and a caret below the place.
    """
    return _Parser(text, name).program()


class CaretError(AssemblyError):
    """An assembly error with the offending line and a caret under the place.

    Attributes:
        excerpt: the line and the caret line, for a terminal.
    """

    def __init__(self, message: str, excerpt: str) -> None:
        super().__init__(message)
        self.excerpt = excerpt


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self.lines = text.splitlines()
        self.name = name
        self.labels: dict[str, int] = {}

    def program(self) -> list[Instruction]:
        found: list[tuple[int, str, int]] = []
        for number, line in enumerate(self.lines):
            start = self._lead(number, line, len(found))
            if start < len(line):
                found.append((number, line, start))
        return [self._instruction(number, line, start) for number, line, start in found]

    def fail(self, number: int, column: int, what: str) -> CaretError:
        line = printable(self.lines[number].replace("\t", " "))
        place = f"{printable(self.name)}:{number + 1}:{column + 1}"
        return CaretError(f"{place}: {what}", f"  {line}\n  {' ' * column}^")

    def _lead(self, number: int, line: str, index: int) -> int:
        """Record the label of a line; return where its instruction begins, or its length."""
        match = _LEAD.match(line.split(";", 1)[0].rstrip())
        if match is None:  # the pattern accepts every line
            raise self.fail(number, 0, "unreadable line")
        label = match["label"]
        if label:
            if label in self.labels:
                raise self.fail(number, match.start("label"), f"label {label!r} is already defined")
            self.labels[label] = index
        if match["index"] and int(match["index"]) != index:
            raise self.fail(number, match.start("index"), f"index {int(match['index'])} stands where {index} is due")
        return match.start("rest") if match["rest"] else len(line)

    def _instruction(self, number: int, line: str, start: int) -> Instruction:
        body = line.split(";", 1)[0].rstrip()
        mnemonic = body[start:].split(None, 1)[0]
        spec = BY_MNEMONIC.get(mnemonic)
        if spec is None:
            raise self.fail(number, start, f"unknown instruction {printable(mnemonic)!r}")
        given: dict[str, Value] = {}
        required = [operand for operand in spec.operands if not operand.optional]
        for column, text in _split(body, start + len(mnemonic)):
            operand, offset = self._which(number, column, text, spec, required, given)
            value = self._value(number, column + offset, text[offset:], operand)
            try:
                given[operand.name] = check_operand(spec, operand, value)
            except AssemblyError as error:
                raise self.fail(number, column + offset, str(error)) from None
        missing = [operand.name for operand in required if operand.name not in given]
        if missing:
            raise self.fail(number, len(body), f"{mnemonic}: operand {missing[0]!r} is missing")
        return Instruction(spec, tuple(given.get(operand.name, 0) for operand in spec.operands))

    def _which(
        self, number: int, column: int, text: str, spec: Spec, required: list[Operand], given: dict[str, Value]
    ) -> tuple[Operand, int]:
        """The operand a piece of text is for, and where its value begins."""
        name, equals, rest = text.partition("=")
        if not equals:
            for operand in required:
                if operand.name not in given:
                    return operand, 0
            raise self.fail(number, column, f"{spec.mnemonic}: too many operands, {len(required)} are due")
        for operand in spec.operands:
            if operand.name == name.strip():
                if operand.name in given:
                    raise self.fail(number, column, f"operand {operand.name!r} is given twice")
                return operand, len(text) - len(rest.lstrip())
        raise self.fail(number, column, f"{spec.mnemonic} has no operand {printable(name.strip())!r}")

    def _value(self, number: int, column: int, text: str, operand: Operand) -> Value:
        if operand.kind is Kind.FLOAT:
            return self._float(number, column, text)
        if operand.kind is Kind.TARGET and _LABEL.fullmatch(text):
            if text not in self.labels:
                raise self.fail(number, column, f"label {text!r} is not defined")
            return self.labels[text]
        prefix, suffix = NOTATION[operand.kind]
        digits = text[len(prefix) : len(text) - len(suffix)]
        if not (text.startswith(prefix) and text.endswith(suffix) and _INTEGER.fullmatch(digits) and len(digits) < 20):
            raise self.fail(
                number, column, f"operand {operand.name!r}: expected {prefix}NUMBER{suffix}, not {printable(text)!r}"
            )
        value = int(digits, 16) if "x" in digits.lower() else int(digits)
        limit = _LIMITS.get(operand.kind)
        if limit is not None and not 0 <= value < limit:
            raise self.fail(number, column, f"{text} does not exist, the last one is {prefix}{limit - 1}")
        return value

    def _float(self, number: int, column: int, text: str) -> float:
        try:
            if text.startswith("f:"):
                return float(struct.unpack("<f", struct.pack("<I", int(text[2:], 16)))[0])
            value = float(text)
        except (ValueError, struct.error):
            raise self.fail(number, column, f"expected a float, not {printable(text)!r}") from None
        if not math.isfinite(value):
            raise self.fail(number, column, f"{printable(text)!r} is not a finite float; write the bits as f:HEX")
        return value


def _split(body: str, start: int) -> list[tuple[int, str]]:
    """Column and text of each comma-separated operand of body[start:]."""
    if not body[start:].strip():
        return []
    pieces = []
    column = start
    for piece in body[start:].split(","):
        stripped = piece.strip()
        pieces.append((column + len(piece) - len(piece.lstrip()), stripped))
        column += len(piece) + 1
    return pieces


def _format_float(value: float) -> str:
    """Shortest text that reads back to the same float32; NaN and infinity keep their bits as `f:HEX`."""
    bits = struct.pack("<f", value)
    if not math.isfinite(value):
        return f"f:{struct.unpack('<I', bits)[0]:08x}"
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        with suppress(OverflowError):  # a decimal rounded up beyond float32
            if struct.pack("<f", float(text)) == bits:
                return text
    return repr(value)
