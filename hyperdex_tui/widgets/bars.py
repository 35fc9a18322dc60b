"""The bar on top (where am I) and the bar below (which keys work here)."""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len
from textual.strip import Strip
from textual.timer import Timer

from hyperdex_tui.formatting import cut, cut_left, wrap
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


_LONGEST_MESSAGE = 3
"""Rows of a message at most."""

_SIGNS = {"bad": "✗ ", "warn": "! "}


class KeyBar(Painted):
    """The keys of a screen, as many as fit, `?` always among them; for some seconds a message in their place.

    Args:
        scope: whose keys.
        offers: whether an action of the scope means something at the moment.
    """

    def __init__(self, scope: str, offers: Callable[[str], bool] = lambda action: True) -> None:
        super().__init__(id="key-bar")
        self.scope = scope
        self._offers = offers
        self._painted: tuple[Key, ...] = ()
        self._message: tuple[str, str] | None = None
        self._timer: Timer | None = None

    def show(self, scope: str) -> None:
        """Show the keys of another scope."""
        self.scope = scope
        self.refresh()

    def recheck(self) -> None:
        """Other keys may mean something now."""
        if self._message is None and self._shown(self.size.width) != self._painted:
            self.refresh()

    def say(self, text: str, role: str) -> None:
        """Show a message, in place of the one before: on the row of the keys, above it what does not fit there."""
        if self._timer is not None:
            self._timer.stop()
        self._message = (_SIGNS.get(role, "") + text, role)
        self._timer = self.set_timer(_reading_s(text) * (2 if role == "bad" else 1), self._be_silent)
        self._fit()

    def _be_silent(self) -> None:
        self._message = self._timer = None
        self._fit()

    @property
    def message(self) -> str:
        """What is being said, "" when nothing is."""
        return self._message[0] if self._message is not None else ""

    def on_resize(self) -> None:
        """A message is broken anew."""
        self._fit()

    def _fit(self) -> None:
        """As many rows as the message needs."""
        rows = max(1, len(self._message_rows()))
        if self.styles.height is None or self.styles.height.value != rows:
            self.styles.height = rows
        self.refresh()

    def _message_rows(self) -> list[str]:
        return wrap(self.message, max(20, self.size.width - 2), _LONGEST_MESSAGE)

    def _shown(self, width: int) -> tuple[Key, ...]:
        tail = () if self.scope in _WITHOUT_HELP else tuple(key for key in keys_of("app") if key.label)
        room = width - sum(_room(key) for key in tail)
        shown: list[Key] = []
        for key in keys_of(self.scope):
            if key.label and _room(key) <= room and self._offers(key.action):
                shown.append(key)
                room -= _room(key)
        return (*shown, *tail)

    def render_line(self, y: int) -> Strip:
        """A row of the message, or the keys."""
        if self._message is not None:
            rows = self._message_rows()
            return self.paint(line((f" {rows[y]}" if y < len(rows) else "", self._message[1])), self.size.width, "bar")
        spans: list[Span] = []
        self._painted = self._shown(self.size.width)
        for key in self._painted:
            spans += [(f" {key.bar_cap} ", "cap"), (f"{key.label} ", "text")]
        return self.paint(spans, self.size.width, "bar")


def _room(key: Key) -> int:
    return cell_len(key.bar_cap) + cell_len(key.label) + 3


def _reading_s(text: str) -> float:
    """Seconds that a message is left standing."""
    return 3.0 + len(text) / 20
