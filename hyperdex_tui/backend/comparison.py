"""Two opened programs and the pairs of their operations, as rows for a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
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
    common = common_places([_mnemonic(left, pc) for pc in ours], [_mnemonic(right, pc) for pc in theirs])
    rows: list[tuple[int, int]] = []
    at_left = at_right = 0
    for next_left, next_right in [*common, (len(ours), len(theirs))]:
        rows += zip_longest(ours[at_left:next_left], theirs[at_right:next_right], fillvalue=-1)
        rows += zip(ours[next_left : next_left + 1], theirs[next_right : next_right + 1], strict=True)
        at_left, at_right = next_left + 1, next_right + 1
    return rows


def common_places(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]]:
    """A longest common subsequence, as ascending places in both.

    A row of the usual table is one integer: bit j is 0 where the length grows from j to j + 1 elements of `right`.
    So even lists that repeat themselves take milliseconds.

    Source: Hyyrö, Bit-parallel LCS-length computation revisited, 2004.
    """
    where: dict[str, int] = {}
    for place, text in enumerate(right):
        where[text] = where.get(text, 0) | 1 << place
    row = every = (1 << len(right)) - 1
    table = [row]
    for text in left:
        matched = row & where.get(text, 0)
        row = ((row + matched) | (row - matched)) & every
        table.append(row)
    found = []
    i, j = len(left), len(right)
    while i and j:
        if table[i] >> (j - 1) & 1:
            j -= 1
            continue
        i -= 1
        if table[i] >> (j - 1) & 1:
            j -= 1
            found.append((i, j))
    return found[::-1]


def _mnemonic(program: Program, pc: int) -> str:
    decoded = program.instruction(pc)
    return decoded.mnemonic if decoded is not None else "?"


def _members(program: Program, side: Side | None) -> list[int]:
    """The instructions of an operation, in order."""
    if side is None:
        return []
    node = program.node_index(side.first)
    found = (pc for pc in range(side.first, side.last + 1) if program.node_index(pc) == node)
    return list(islice(found, min(side.count, _LINES_LIMIT)))
