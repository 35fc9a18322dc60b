"""Every key of the screen below, from the key table."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from hyperdex_tui.formatting import pad
from hyperdex_tui.keys import SCOPE_TITLES, Key, bindings, keys_of
from hyperdex_tui.messages import GoBack
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.painted import Line, line
from hyperdex_tui.widgets.row_list import RowList

_WITHOUT_LIST = ("compile",)
"""Screens that have no list, so that its keys and those that copy rows would be a lie."""


class KeyList(RowList):
    """Keys by scope."""

    def __init__(self, scope: str) -> None:
        super().__init__(id="key-list")
        scopes = [scope, *(["list", "view"] if scope not in _WITHOUT_LIST else []), "app"]
        self._rows: list[str | Key] = []
        for name in dict.fromkeys(scopes):
            self._rows += (SCOPE_TITLES[name], *keys_of(name))

    def row_count(self) -> int:
        """Titles and keys."""
        return len(self._rows)

    def row(self, index: int, width: int) -> Line:
        """A title, or a key and what it does."""
        entry = self._rows[index]
        if isinstance(entry, str):
            return line((entry, "head"))
        return line("  ", (pad(entry.cap, 12), "accent"), (entry.synopsis, "text"))


class HelpScreen(AppScreen):
    """What the keys do; Esc returns."""

    scope = "help"
    BINDINGS: ClassVar[list[BindingType]] = bindings("help")

    def __init__(self, scope: str) -> None:
        title = SCOPE_TITLES.get(scope, scope)
        super().__init__(f"Help › {title}", note="Ctrl+P finds every command by name")
        self._of = scope

    def compose_body(self) -> ComposeResult:
        """The list."""
        yield KeyList(self._of)

    def action_close(self) -> None:
        """Back."""
        self.post_message(GoBack())
