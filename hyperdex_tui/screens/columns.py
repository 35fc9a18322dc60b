"""Which columns the instruction list shows."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen

from hyperdex_tui.formatting import pad
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import RowChosen
from hyperdex_tui.widgets.bars import KeyBar
from hyperdex_tui.widgets.instruction_list import COLUMNS
from hyperdex_tui.widgets.painted import Line, line
from hyperdex_tui.widgets.row_list import RowList


class ColumnList(RowList):
    """Every column with a mark for those shown."""

    def __init__(self, chosen: tuple[str, ...]) -> None:
        super().__init__(id="column-list")
        self.chosen = set(chosen)

    def row_count(self) -> int:
        """Columns."""
        return len(COLUMNS)

    def row(self, index: int, width: int) -> Line:
        """One column."""
        column = COLUMNS[index]
        mark = "[x]" if column.name in self.chosen else "[ ]"
        return line((f"{mark} ", "accent"), (pad(column.name, 9), "strong"), (column.synopsis, "dim"))


class ColumnsScreen(ModalScreen[tuple[str, ...]]):
    """Dismisses with the names of the chosen columns."""

    scope: ClassVar[str] = "columns"
    BINDINGS: ClassVar[list[BindingType]] = bindings("columns")

    def __init__(self, chosen: tuple[str, ...]) -> None:
        super().__init__()
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """The list and its keys."""
        yield ColumnList(self._chosen)
        yield KeyBar(self.scope)

    def on_row_chosen(self, event: RowChosen) -> None:
        """Enter or a double click."""
        self.action_switch()

    def action_switch(self) -> None:
        """Show or hide the column under the cursor."""
        columns = self.query_one(ColumnList)
        columns.chosen ^= {COLUMNS[columns.cursor].name}
        columns.refresh()

    def action_close(self) -> None:
        """Use the choice."""
        chosen = self.query_one(ColumnList).chosen
        self.dismiss(tuple(column.name for column in COLUMNS if column.name in chosen))
