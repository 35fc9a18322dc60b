"""The bar on top (where am I) and the bar below (which keys work here)."""

from __future__ import annotations

from rich.cells import cell_len
from textual.strip import Strip

from hyperdex_tui.formatting import cut, cut_left
from hyperdex_tui.keys import Key, keys_of
from hyperdex_tui.widgets.painted import Painted, Span, line


class TitleBar(Painted):
    """Name of the app, trail of the screen, and a note on the right."""

    def __init__(self, trail: str, *, note: str = "") -> None:
        super().__init__(id="title-bar")
        self.trail = trail
        self.note = note

    def show(self, trail: str | None = None, note: str | None = None) -> None:
        """Change trail or note."""
        before = (self.trail, self.note)
        self.trail = self.trail if trail is None else trail
        self.note = self.note if note is None else note
        if (self.trail, self.note) != before:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The one row."""
        width = self.size.width
        name, gap = " HyperDex ", 2
        trail = cut(self.trail, width - cell_len(name) - gap)
        shorten = cut_left if self.note.startswith("prefix") else cut  # a path says more at its end
        note = shorten(self.note, width - cell_len(name) - cell_len(trail) - gap - 1)
        fill = width - cell_len(name) - cell_len(trail) - cell_len(note) - 2
        return self.paint(
            line((name, "strong"), (" " + trail, "text"), (" " * max(0, fill), "text"), (note + " ", "dim")),
            width,
            "bar",
        )


_WITHOUT_HELP = ("ask", "cells", "export", "help", "generate", "prompt")
"""Scopes in which `?` is text or leads nowhere."""


class KeyBar(Painted):
    """The keys of a screen, as many as fit; `?` is always among them."""

    def __init__(self, scope: str) -> None:
        super().__init__(id="key-bar")
        self.scope = scope

    def show(self, scope: str) -> None:
        """Show the keys of another scope."""
        self.scope = scope
        self.refresh()

    def _shown(self, width: int) -> list[Key]:
        tail = [] if self.scope in _WITHOUT_HELP else [key for key in keys_of("app") if key.label]
        room = width - sum(_room(key) for key in tail)
        shown: list[Key] = []
        for key in keys_of(self.scope):
            if key.label and _room(key) <= room:
                shown.append(key)
                room -= _room(key)
        return shown + tail

    def render_line(self, y: int) -> Strip:
        """The one row."""
        spans: list[Span] = []
        for key in self._shown(self.size.width):
            spans += [(f" {key.cap} ", "cap"), (f"{key.label} ", "text")]
        return self.paint(spans, self.size.width, "bar")


def _room(key: Key) -> int:
    return cell_len(key.cap) + cell_len(key.label) + 3
