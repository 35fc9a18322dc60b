"""The words of a program as columns, and their texts with few distinct forms.

A row's text depends on its word. Words repeat but for the memory address or
branch target in their second cell: a word without it is a *template*, whose
text has a hole for it. Templates are numbered once, so that a search looks at
each template's text instead of each row's.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.errors import AssemblyError
from compiler.isa.encode import decode
from compiler.isa.instructions import BY_OPCODE, SPECS
from compiler.isa.spec import HBM_UNIT_BYTES, WORD_COUNT, Kind
from hyperdex_tui.backend.program import word_text

_HOLE_CELL = 1
_HOLE_KINDS = (Kind.HBM, Kind.TARGET)
_SLOTS = 1 << 20
_MARK = 0x5A5A5A5
"""A value that stands for the hole while a template is written as text."""


@dataclass(frozen=True, slots=True)
class Template:
    """All words that differ in their hole only.

    Attributes:
        unit, opcode: as the listing shows them.
        before, after: the text around the hole; the whole text is `before` without a hole.
        hole: kind of the operand that varies, None when none does.
    """

    unit: str
    opcode: str
    before: str
    after: str = ""
    hole: Kind | None = None

    def text(self, value: int, labels: Mapping[int, str]) -> str:
        """The row's text for one value of the hole's cell."""
        if self.hole is None:
            return self.before
        return self.before + hole_text(self.hole, value, labels) + self.after


def hole_text(kind: Kind, value: int, labels: Mapping[int, str]) -> str:
    """What stands in the hole of a template."""
    if kind is Kind.HBM:
        return f"h[{value * HBM_UNIT_BYTES:#x}]"
    return labels.get(value) or f"@{value}"


def _hole_of_opcode() -> NDArray[np.bool_]:
    found = np.zeros(256, np.bool_)
    for spec in SPECS:
        found[spec.opcode] = any(
            operand.word == _HOLE_CELL and operand.bits == 32 and operand.kind in _HOLE_KINDS
            for operand in spec.operands
        )
    return found


def make_template(cells: NDArray[np.uint32], labels: Mapping[int, str]) -> Template:
    """The template of a word [8] whose hole, if it has one, is zero."""
    word = cells.astype("<u4").tobytes()
    spec = BY_OPCODE.get(int(cells[0]) & 0xFF)
    try:
        decode(word)
    except AssemblyError:
        spec = None
    text = " ".join(word_text(word, labels).split())
    if spec is None:
        return Template("?", text, f"? {text}")
    hole = next((op.kind for op in spec.operands if op.word == _HOLE_CELL and op.kind in _HOLE_KINDS), None)
    unit = spec.unit.value
    if hole is None:
        return Template(unit, spec.mnemonic, f"{unit} {text}")
    marked = cells.copy()
    marked[_HOLE_CELL] = _MARK
    text = " ".join(word_text(marked.astype("<u4").tobytes(), {}).split())
    before, _, after = text.partition(hole_text(hole, _MARK, {}))
    return Template(unit, spec.mnemonic, f"{unit} {before}", after, hole)


class TemplateIndex:
    """Numbers the templates of words as they come by.

    Words are told apart by 64 bits of a product with numbers drawn anew in every process.
    """

    def __init__(self, labels: Mapping[int, str]) -> None:
        self.labels = labels
        self.templates: list[Template] = []
        self._has_hole = _hole_of_opcode()
        self._factors = np.array([secrets.randbits(64) | 1 for _ in range(WORD_COUNT)], np.uint64)
        self._hashes = np.zeros(_SLOTS, np.uint64)
        self._numbers = np.full(_SLOTS, -1, np.int32)
        self._spilled: dict[int, int] = {}

    def number(self, words: NDArray[np.uint32]) -> NDArray[np.int32]:
        """Template number of each word [n, 8]; new ones join `templates`."""
        hashed = self._hash(words)
        slots = (hashed >> np.uint64(44)).astype(np.int64)
        numbers = self._numbers[slots]
        unknown = np.flatnonzero((numbers < 0) | (self._hashes[slots] != hashed))
        if len(unknown):
            distinct, firsts, inverse = np.unique(hashed[unknown], return_index=True, return_inverse=True)
            fresh = [self._find(int(key), words[unknown[first]]) for key, first in zip(distinct, firsts, strict=True)]
            numbers[unknown] = np.array(fresh, np.int32)[inverse]
        return numbers

    def _hash(self, words: NDArray[np.uint32]) -> NDArray[np.uint64]:
        keep = ~self._has_hole[words[:, 0] & 0xFF]
        total = np.zeros(len(words), np.uint64)
        for cell, factor in enumerate(self._factors):
            column = words[:, cell].astype(np.uint64)
            total += (column * keep if cell == _HOLE_CELL else column) * factor
        return total ^ (total >> np.uint64(29)) * np.uint64(0x9E3779B97F4A7C15)

    def _find(self, key: int, cells: NDArray[np.uint32]) -> int:
        slot = key >> 44
        if self._numbers[slot] >= 0 and int(self._hashes[slot]) == key:
            return int(self._numbers[slot])
        if key in self._spilled:
            return self._spilled[key]
        bare = cells.copy()
        if self._has_hole[int(cells[0]) & 0xFF]:
            bare[_HOLE_CELL] = 0
        self.templates.append(make_template(bare, self.labels))
        number = len(self.templates) - 1
        if self._numbers[slot] < 0:
            self._numbers[slot], self._hashes[slot] = number, key
        else:
            self._spilled[key] = number
        return number
