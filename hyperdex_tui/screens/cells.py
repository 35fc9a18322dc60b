"""The cells of one row, whole and named: choose one to copy."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen

from hyperdex_tui.formatting import pad
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import RowChosen
from hyperdex_tui.tabular import Cell, cell_text
from hyperdex_tui.widgets.bars import KeyBar
from hyperdex_tui.widgets.painted import Line, line
from hyperdex_tui.widgets.row_list import RowList


class CellList(RowList):
    """One row per column."""

    def __init__(self, columns: tuple[str, ...], cells: tuple[Cell, ...]) -> None:
        super().__init__(id="cell-list")
        self._names = columns
        self._texts = [cell_text(cell) for cell in cells]
        self._label = min(24, 2 + max(len(name) for name in columns))

    def row_count(self) -> int:
        """Columns."""
        return len(self._texts)

    def row(self, index: int, width: int) -> Line:
        """Name and value."""
        return line((pad(self._names[index].replace("_", " "), self._label), "dim"), (self._texts[index], "text"))

    @property
    def current(self) -> str:
        """The value under the cursor."""
        return self._texts[self.cursor]


class CellScreen(ModalScreen[str]):
    """Dismisses with the chosen text, None when the user left."""

    scope: ClassVar[str] = "cells"
    BINDINGS: ClassVar[list[BindingType]] = bindings("cells")

    def __init__(self, columns: tuple[str, ...], cells: tuple[Cell, ...]) -> None:
        super().__init__()
        self._cells = CellList(columns, cells)

    def compose(self) -> ComposeResult:
        """The list over its keys."""
        self._cells.styles.height = min(self._cells.row_count(), 16)
        yield self._cells
        yield KeyBar(self.scope)

    def on_row_chosen(self, event: RowChosen) -> None:
        """Enter on the list, or a second click."""
        self.action_choose()

    def action_choose(self) -> None:
        """Hand the cell back."""
        self.dismiss(self._cells.current)

    def action_close(self) -> None:
        """Leave."""
        self.dismiss(None)
