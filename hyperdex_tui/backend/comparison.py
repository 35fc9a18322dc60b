"""Two opened programs and the pairs of their operations, as rows for a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from hyperdex_tui.backend.program import Program

_LINES_LIMIT = 2_000
"""Instructions of one operation that are laid side by side."""


@dataclass(frozen=True, slots=True)
class Side:
    """An operation in one of the programs; see `inspection.compare`."""

    name: str
    op: str
    layer: int
    first: int
    last: int
    count: int
    cycles: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """What both programs make of an operation; `change` as in `inspection.compare`."""

    change: str
    left: Side | None
    right: Side | None

    @property
    def name(self) -> str:
        """Name of the operation."""
        side = self.left or self.right
        return side.name if side is not None else ""


def pairs_from(answers: Sequence[Mapping[str, Any]]) -> tuple[Pair, ...]:
    """The pairs that an inspection process found."""

    def side(value: Mapping[str, Any] | None) -> Side | None:
        return Side(**value) if value is not None else None

    return tuple(Pair(str(each["change"]), side(each["left"]), side(each["right"])) for each in answers)


def side_by_side(left: Program, right: Program, pair: Pair) -> list[tuple[int, int]]:
    """The instructions of an operation, those that do the same beside each other; -1 where one side has none."""
    ours, theirs = _members(left, pair.left), _members(right, pair.right)
    texts = [[_mnemonic(program, pc) for pc in pcs] for program, pcs in ((left, ours), (right, theirs))]
    rows: list[tuple[int, int]] = []
    for _, a, b, c, d in SequenceMatcher(None, texts[0], texts[1], autojunk=False).get_opcodes():
        for index in range(max(b - a, d - c)):
            rows.append((ours[a + index] if a + index < b else -1, theirs[c + index] if c + index < d else -1))
    return rows


def _mnemonic(program: Program, pc: int) -> str:
    decoded = program.instruction(pc)
    return decoded.mnemonic if decoded is not None else "?"


def _members(program: Program, side: Side | None) -> list[int]:
    """The instructions of an operation, in order."""
    if side is None:
        return []
    node = program.node_index(side.first)
    found = [pc for pc in range(side.first, side.last + 1) if program.node_index(pc) == node]
    return found[:_LINES_LIMIT]
