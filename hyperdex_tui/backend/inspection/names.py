"""The names behind instructions, and which of them a term is found in.

Names are few against rows: a term looks at each distinct text once, and rows
follow from the columns of the debug information by index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from compiler.artifacts.debug import DebugTables
from hyperdex_tui.backend.query import Term
from hyperdex_tui.backend.sections import Sections

Mask = NDArray[np.bool_]
_NODE_TEXTS = {"node": (0,), "op": (1,), "tensor": (2, 3), "": (0, 1, 2, 3)}
"""Columns of a node's record that a field looks into."""

_NODE_WIDTH = 5


class Names:
    """Node, region and layer of the instructions [begin, end) of a program.

    Args:
        content: the debug file.
        tables: its tables, checked.
        sections: of the program.
    """

    def __init__(
        self, content: bytes | memoryview, tables: DebugTables, sections: Sections, begin: int, end: int
    ) -> None:
        self._content = content
        self._tables = tables
        self._sections = sections
        self.begin, self.end = begin, end
        self.nodes = self._column("instruction_nodes", "nodes")
        self.regions = self._column("instruction_regions", "regions")
        self._node_records = self._table("nodes").reshape(-1, _NODE_WIDTH)
        self._region_texts = self._table("regions")
        self._ends = self._table("strings").astype(np.int64)

    def _table(self, name: str) -> NDArray[np.int32]:
        table = self._tables.tables[name]
        return np.frombuffer(self._content, "<i4", table.count * table.width, table.offset)

    def _column(self, name: str, to: str) -> NDArray[np.int32]:
        """One number per instruction of the range; a number of nothing becomes the one behind the last."""
        count = self._tables.count(to)
        found = self._table(name)[self.begin : self.end]
        return np.where((found >= 0) & (found < count), found, count).astype(np.int32)

    def rows(self, term: Term) -> tuple[Mask, Mask, Mask | None]:
        """Which nodes and which regions satisfy a term, and which rows of the range by their layer (None: no matter).

        The masks of nodes and regions have one more element, for "none", which is False.
        """
        nodes = np.zeros(len(self._node_records) + 1, np.bool_)
        regions = np.zeros(len(self._region_texts) + 1, np.bool_)
        if term.field == "layer":
            return nodes, regions, self._layers(term)
        columns = _NODE_TEXTS.get(term.field, ())
        records = self._used_nodes()
        texts = [self._node_records[records, column] for column in columns]
        if term.field in ("", "region"):
            texts.append(self._region_texts)
        found = self._texts(term, texts)
        for column in columns:
            nodes[:-1][records] |= found[self._node_records[records, column]]
        if term.field in ("", "region"):
            regions[:-1] = found[self._region_texts]
        return nodes, regions, None

    def _used_nodes(self) -> slice:
        """The run of nodes that the range refers to."""
        count = len(self._node_records)
        real = self.nodes[self.nodes < count]
        return slice(int(real.min()), int(real.max()) + 1) if len(real) else slice(0, 0)

    def _texts(self, term: Term, wanted: Sequence[NDArray[np.int32]]) -> Mask:
        """Which texts of the string table satisfy a term; those not wanted do not."""
        count = len(self._ends)
        found = np.zeros(count + 1, np.bool_)
        used = np.zeros(count + 1, np.bool_)
        for column in wanted:
            if len(column) and not (int(column.min()) >= 0 and int(column.max()) < count):
                raise ValueError(f"{self._tables.where} names a text that is not there")
            used[column] = True
        numbers = np.flatnonzero(used[:count])
        begins = np.where(numbers > 0, self._ends[numbers - 1], 0).tolist()
        blob = bytes(self._content[len(self._content) - int(self._ends[-1]) :]) if count else b""
        pairs = zip(begins, self._ends[numbers].tolist(), strict=True)
        folds_case = term.folds_case
        if blob.isascii():
            text = blob.decode("ascii")
            text = text.lower() if folds_case else text
            found[numbers] = which(term, (text[begin:end] for begin, end in pairs))
        else:
            found[numbers] = which(term, (_decoded(blob[begin:end], folds_case) for begin, end in pairs))
        return found

    def _layers(self, term: Term) -> Mask:
        """Rows whose layer's number or section's title is the whole of what the term matches."""
        pattern = re.compile(term.pattern, re.IGNORECASE if term.folds_case else 0)
        rows = np.zeros(self.end - self.begin, np.bool_)
        for index in range(self._sections.index_of(self.begin), len(self._sections)):
            section = self._sections[index]
            if section.begin >= self.end:
                break
            if pattern.fullmatch(section.title) or (section.layer >= 0 and pattern.fullmatch(str(section.layer))):
                rows[max(0, section.begin - self.begin) : max(0, section.end - self.begin)] = True
        return rows


def _decoded(text: bytes, folds_case: bool) -> str:
    shown = text.decode("utf-8", errors="replace")
    return shown.lower() if folds_case else shown


def which(term: Term, texts: Iterable[str]) -> list[bool]:
    """Which texts (in lower case where the term ignores case) satisfy a term."""
    literal = term.literal
    if literal is not None:
        return [literal in text for text in texts]
    return [found is not None for found in map(term.compiled().search, texts)]
