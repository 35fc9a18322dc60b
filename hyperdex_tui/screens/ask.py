"""A yes-or-no question over the current screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen

from hyperdex_tui.keys import bindings
from hyperdex_tui.widgets.painted import Pane, line, line_width

_MARGIN = 6
"""Cells of border and padding around the text."""


class AskScreen(ModalScreen[bool]):
    """Dismisses with the answer."""

    scope: ClassVar[str] = "ask"
    BINDINGS: ClassVar[list[BindingType]] = bindings("ask")

    def __init__(self, question: str, consequence: str = "") -> None:
        super().__init__()
        self._question = question
        self._consequence = consequence

    def compose(self) -> ComposeResult:
        """The question."""
        yield Pane(id="question")

    def on_mount(self) -> None:
        """Show it."""
        lines = [line((self._question, "strong"))]
        if self._consequence:
            lines.append(line((self._consequence, "dim")))
        lines += [line(""), line(("y", "accent"), " yes    ", ("n", "accent"), " no")]
        pane = self.query_one("#question", Pane)
        pane.styles.width = max(line_width(spans) for spans in lines) + _MARGIN
        pane.show(lines)

    def action_yes(self) -> None:
        """Yes."""
        self.dismiss(True)

    def action_no(self) -> None:
        """No."""
        self.dismiss(False)
