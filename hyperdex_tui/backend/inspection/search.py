"""Rows of a program that satisfy a query: templates and names first, the text of single rows only where it matters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from compiler.isa.spec import HBM_UNIT_BYTES, Kind
from hyperdex_tui.backend.inspection.names import Mask, Names, which
from hyperdex_tui.backend.inspection.words import Template, TemplateIndex, hole_text
from hyperdex_tui.backend.query import INSTRUCTION_FIELDS, Term

_CHUNK = 1 << 18
_NO, _YES, _OPEN = 0, 1, 2
"""What is known of a template under a term; open: it depends on the value in the hole."""

_HOLE_ALPHABETS = {Kind.HBM: frozenset("h[x]0123456789abcdef")}


class _TermState:
    """One term of a query, with what it found out about the templates so far."""

    def __init__(self, term: Term, names: Names | None) -> None:
        self.term = term
        self._folds_case = term.folds_case
        self.looks_at_words = not term.field or term.field in INSTRUCTION_FIELDS
        self.states = np.zeros(0, np.int8)
        none = np.zeros(1, np.bool_)
        looks_at_names = names is not None and term.field not in INSTRUCTION_FIELDS
        self.nodes: Mask = none
        self.regions: Mask = none
        self.rows: Mask | None = None
        if names is not None and looks_at_names:
            self.nodes, self.regions, self.rows = names.rows(term)
        self._has_names = bool(self.nodes.any() or self.regions.any())

    def learn(self, templates: Sequence[Template]) -> None:
        """Look at the templates that are new."""
        fresh = [self._state(template) for template in templates[len(self.states) :]]
        self.states = np.concatenate([self.states, np.array(fresh, np.int8)])

    def folded(self, text: str) -> str:
        """Text as the pattern wants it."""
        return text.lower() if self._folds_case else text

    def parts(self, template: Template) -> tuple[str, str]:
        """The text of the term's field around the hole."""
        if self.term.field == "unit":
            return self.folded(template.unit), ""
        if self.term.field == "opcode":
            return self.folded(template.opcode), ""
        before = template.before.partition(" ")[2] if self.term.field == "text" else template.before
        return self.folded(before), self.folded(template.after)

    def _state(self, template: Template) -> int:
        if not self.looks_at_words:
            return _NO
        before, after = self.parts(template)
        if template.hole is None or self.term.field in ("unit", "opcode"):
            return _YES if which(self.term, (before,))[0] else _NO
        literal = self.term.literal
        if literal is None:
            return _OPEN
        literal = self.folded(literal)
        if literal in before or literal in after:
            return _YES
        alphabet = _HOLE_ALPHABETS.get(template.hole)
        return _OPEN if alphabet is None or _may_overlap(literal, before, after, alphabet) else _NO

    def by_names(self, names: Names | None, window: slice) -> Mask | None:
        """Rows of a chunk that satisfy the term by a name; None: none does."""
        if self.rows is not None:
            return self.rows[window]
        if names is None or not self._has_names:
            return None
        return self.nodes[names.nodes[window]] | self.regions[names.regions[window]]


def _may_overlap(literal: str, before: str, after: str, alphabet: frozenset[str]) -> bool:
    """Whether `literal` could be found in before + hole + after with a part of it in the hole."""
    for start in range(len(literal) + 1):
        if not before.endswith(literal[:start]):
            continue
        for end in range(start, len(literal) + 1):
            if end > start and literal[end - 1] not in alphabet:
                break
            if after.startswith(literal[end:]):
                return True
    return False


class Search:
    """Searches the instructions [begin, end) of a program.

    Args:
        words: uint32 [instructions, 8], all of the program.
        names: of the same range; None where there is no debug information.
        index: template numbers, kept from search to search.
    """

    def __init__(
        self, words: NDArray[np.uint32], names: Names | None, index: TemplateIndex, begin: int, end: int
    ) -> None:
        self._words = words
        self._names = names
        self._index = index
        self._begin, self._end = begin, end
        self._numbers = np.full(end - begin, -1, np.int32)
        self._numbered = 0

    def run(self, terms: Sequence[Term], on_rows: Callable[[int], None]) -> NDArray[np.int32]:
        """Instructions that satisfy all terms, ascending.

        Args:
            terms: at least one.
            on_rows: called with the number of rows done so far.
        """
        states = [_TermState(term, self._names) for term in terms]
        found = []
        for begin in range(self._begin, self._end, _CHUNK):
            end = min(self._end, begin + _CHUNK)
            window = slice(begin - self._begin, end - self._begin)
            rows = self._rows(states, self._words[begin:end], self._template_numbers(window, begin, end), window)
            found.append((rows + begin).astype(np.int32))
            on_rows(end - self._begin)
        return np.concatenate(found) if found else np.zeros(0, np.int32)

    def _template_numbers(self, window: slice, begin: int, end: int) -> NDArray[np.int32]:
        if self._numbered < window.stop:
            self._numbers[window] = self._index.number(self._words[begin:end])
            self._numbered = window.stop
        return self._numbers[window]

    def _rows(
        self, states: Sequence[_TermState], words: NDArray[np.uint32], numbers: NDArray[np.int32], window: slice
    ) -> NDArray[np.int64]:
        wanted = np.ones(len(words), np.bool_)
        opened: list[tuple[_TermState, Mask]] = []
        for state in states:
            state.learn(self._index.templates)
            known = state.states[numbers]
            by_names = state.by_names(self._names, window)
            yes = known == _YES if by_names is None else (known == _YES) | by_names
            depends = (known == _OPEN) & ~yes
            wanted &= yes | depends
            if depends.any():
                opened.append((state, depends))
        for state, depends in opened:
            rows = np.flatnonzero(depends & wanted)
            wanted[rows] = self._look(state, rows, words, numbers)
        return np.flatnonzero(wanted)

    def _look(
        self, state: _TermState, rows: NDArray[np.int64], words: NDArray[np.uint32], numbers: NDArray[np.int32]
    ) -> Mask:
        """Match the texts of single rows, template by template."""
        order = rows[np.argsort(numbers[rows], kind="stable")]
        result = np.zeros(len(words), np.bool_)
        borders = np.flatnonzero(np.diff(numbers[order])) + 1
        for group in np.split(order, borders):
            if not len(group):
                continue
            template = self._index.templates[int(numbers[group[0]])]
            before, after = state.parts(template)
            if template.hole is Kind.HBM:
                shown = f"{before.replace('%', '%%')}h[%#x]{after.replace('%', '%%')}"
                addresses = (words[group, 1].astype(np.int64) * HBM_UNIT_BYTES).tolist()
                result[group] = which(state.term, map(shown.__mod__, addresses))
            else:
                assert template.hole is not None
                places = [hole_text(template.hole, value, self._index.labels) for value in words[group, 1].tolist()]
                result[group] = which(state.term, (before + state.folded(place) + after for place in places))
        return result[rows]
