"""The requests of an inspection process, each answered by the module that knows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import cached_property
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.artifacts.debug import Content
from compiler.errors import ArtifactError
from compiler.header import HEADER_BYTES
from compiler.isa.spec import WORD_COUNT
from hyperdex_tui.backend.inspection.compare import align, timed_operations
from hyperdex_tui.backend.inspection.cycles import token_cycles
from hyperdex_tui.backend.inspection.dependence import neighbours, relation
from hyperdex_tui.backend.inspection.names import Names
from hyperdex_tui.backend.inspection.search import Search
from hyperdex_tui.backend.inspection.words import TemplateIndex
from hyperdex_tui.backend.program import open_program
from hyperdex_tui.backend.query import Term

Progress = Callable[[int], None]
Answer = tuple[dict[str, Any], bytes]


class Service:
    """Answers requests about the instructions [begin, end) of the program in a folder.

    Args:
        mark: of the program file as whoever asks sees it; "" for any.

    Raises:
        ArtifactError: the program cannot be opened, or is another one by now.
    """

    def __init__(self, folder: Path, begin: int, end: int, mark: str = "") -> None:
        self.program = open_program(folder, mapped=True)
        if mark and self.program.mark != mark:
            raise ArtifactError(
                "the program was compiled again or changed since it was opened", "leave and open it anew"
            )
        self.begin, self.end = begin, min(end, self.program.count)

    @cached_property
    def words(self) -> NDArray[np.uint32]:
        """All words of the program."""
        count = self.program.count * WORD_COUNT
        return np.frombuffer(_buffer(self.program.words), "<u4", count, HEADER_BYTES).reshape(-1, WORD_COUNT)

    @cached_property
    def search(self) -> Search:
        """The searcher of the range."""
        tables = self.program.tables
        names = None
        if tables is not None:
            names = Names(_buffer(tables.content), tables, self.program.sections, self.begin, self.end)
        return Search(self.words, names, TemplateIndex(self.program.labels), self.begin, self.end)

    def answer(self, request: dict[str, Any], on_progress: Progress) -> Answer:
        """Answer one request.

        Raises:
            ValueError: no such request, or a file that is damaged.
            HyperDexError: the program cannot be made otherwise.
        """
        what = request["do"]
        if what == "search":
            terms = [Term(field, pattern, exact) for field, pattern, exact in request["terms"]]
            found = self.search.run(terms, on_progress)
            return {"count": len(found)}, found.astype("<i4").tobytes()
        if what == "neighbours":
            return asdict(neighbours(self.program.instruction, request["pc"], self.program.count)), b""
        if what == "relation":
            return asdict(relation(self.program.instruction, request["first"], request["second"])), b""
        if what == "compare":
            return self._compare(Path(request["other"]), request["position"]), b""
        if what == "variant":
            from hyperdex_tui.backend.inspection.variant import write_variant  # a compiler, which few sessions need

            write_variant(self.program.folder, self.program.manifest, request["change"], Path(request["into"]))
            return {}, b""
        if what == "cycles":
            words = self.program.words[HEADER_BYTES:]
            return {}, token_cycles(self.program, words, request["position"]).astype("<f8").tobytes()
        raise ValueError(f"no request {what!r}")

    def _compare(self, folder: Path, position: int) -> dict[str, Any]:
        """The pairs of this program and the one in another folder, without their shapes; cycles of a token of both."""
        with closing(open_program(folder, mapped=True)) as other:
            left, cycles = timed_operations(self.program, position)
            right, other_cycles = timed_operations(other, position)
        shown = [asdict(pair) for pair in align(left, right)]
        for pair in shown:
            for side in (pair["left"], pair["right"]):
                if side is not None:
                    del side["shape"]
        return {"pairs": shown, "cycles": (cycles, other_cycles)}


def _buffer(content: Content) -> memoryview:
    """A mapped file without a copy."""
    assert isinstance(content, mmap)
    return memoryview(content)
