"""Prompts and what the machine answered, wrapped to the width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.cells import cell_len

from hyperdex_tui.widgets.painted import Line, line
from hyperdex_tui.widgets.row_list import RowList


class Transcript(RowList):
    """Rows of wrapped text; the newest is kept in sight while it grows."""

    marks_blurred: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__(id="transcript")
        self._blocks: list[tuple[str, str]] = []
        self._rows: list[Line] = []
        self._answer = ""

    def begin(self, prompt: str) -> None:
        """A new prompt below what was there."""
        self._blocks.append((prompt, ""))
        self._answer = ""
        self._wrap()

    def add(self, text: str) -> None:
        """More text of the answer."""
        self._answer += text
        self._blocks[-1] = (self._blocks[-1][0], self._answer)
        self._wrap()

    def finish(self, text: str | None) -> None:
        """The final text; None keeps what was streamed."""
        if text is not None and self._blocks:
            self._blocks[-1] = (self._blocks[-1][0], text)
        self._wrap()

    def on_resize(self) -> None:
        """Wrap for the new width."""
        self._wrap()

    def _wrap(self) -> None:
        width = max(10, self.size.width - 4)
        rows: list[Line] = []
        for prompt, answer in self._blocks:
            rows += _wrapped(prompt, answer, width)
            rows.append(())
        self._rows = rows
        self.rows_changed(len(rows) - 2)

    def row_count(self) -> int:
        """Wrapped rows."""
        return len(self._rows)

    def row(self, index: int, width: int) -> Line:
        """One wrapped row."""
        return self._rows[index]

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """Before the first prompt."""
        return (
            line(("  Nothing generated yet.", "text")),
            line(("  Type a prompt above and press Enter; the answer streams in here.", "dim")),
        )


def _wrapped(prompt: str, answer: str, width: int) -> list[Line]:
    """The prompt in bold, directly followed by its continuation; broken at spaces where there are any."""
    text, border = prompt + answer, len(prompt)
    rows: list[Line] = []
    begin = 0
    for end, after in _breaks(text, width):
        middle = max(begin, min(border, end))
        rows.append(((text[begin:middle], "strong"), (text[middle:end], "good")))
        begin = after
    return rows


def _breaks(text: str, width: int) -> Iterator[tuple[int, int]]:
    """For each row where it ends and where the next one begins."""
    begin, space, cells, at = 0, -1, 0, 0
    while at < len(text):
        char = text[at]
        if char == "\n":
            yield at, at + 1
            begin, space, cells = at + 1, -1, 0
        else:
            if char == " ":
                space = at
            cells += cell_len(char)
            if cells > width:
                end, begin = (space, space + 1) if space > begin else (at, at)
                yield end, begin
                at, space, cells = begin - 1, -1, 0
        at += 1
    yield len(text), len(text)
