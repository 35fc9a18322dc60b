"""What to compare a program with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen

from hyperdex_tui.backend.variants import Rival
from hyperdex_tui.formatting import pad
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import RowChosen
from hyperdex_tui.widgets.bars import KeyBar
from hyperdex_tui.widgets.painted import Line, line
from hyperdex_tui.widgets.row_list import RowList

_MOST_ROWS = 14


class RivalList(RowList):
    """One row per choice."""

    def __init__(self, rivals: Sequence[Rival]) -> None:
        super().__init__(id="rival-list")
        self.rivals = rivals
        self.styles.height = min(len(rivals), _MOST_ROWS) + 1

    def row_count(self) -> int:
        """Choices."""
        return len(self.rivals)

    def heading(self, width: int) -> Line:
        """What is asked."""
        return line((pad("  compare with", width), "head"))

    def row(self, index: int, width: int) -> Line:
        """One choice."""
        rival = self.rivals[index]
        return line((pad(rival.title, 28), "strong"), (" " + rival.synopsis, "dim"))


class RivalsScreen(ModalScreen[Rival]):
    """Dismisses with the choice, or with None."""

    scope: ClassVar[str] = "rivals"
    BINDINGS: ClassVar[list[BindingType]] = bindings("rivals")

    def __init__(self, rivals: Sequence[Rival]) -> None:
        super().__init__()
        self._rivals = rivals

    def compose(self) -> ComposeResult:
        """The list and its keys."""
        yield RivalList(self._rivals)
        yield KeyBar(self.scope)

    def on_row_chosen(self, event: RowChosen) -> None:
        """Enter or a double click."""
        self.action_choose()

    def action_choose(self) -> None:
        """Compare with what the cursor is on."""
        self.dismiss(self._rivals[self.query_one(RivalList).cursor])

    def action_close(self) -> None:
        """Nothing was chosen."""
        self.dismiss(None)
