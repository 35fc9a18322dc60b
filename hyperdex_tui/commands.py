"""The command palette's commands: every key of the current screen that the key table offers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from textual.command import DiscoveryHit, Hit, Hits, Provider

from hyperdex_tui.keys import SCOPE_TITLES, Key, keys_of


class KeyCommands(Provider):
    """Finds actions of the screen and of the app by what they do."""

    def _commands(self) -> list[tuple[Key, str, Callable[[], Coroutine[Any, Any, Any]]]]:
        scope = str(getattr(self.screen, "scope", "app"))
        found: list[tuple[Key, str, Callable[[], Coroutine[Any, Any, Any]]]] = []
        for name, owner in ((scope, self.screen), ("view", self.screen), ("app", self.app)):
            for key in keys_of(name):
                if key.palette:
                    run = partial(owner.run_action, key.action)
                    found.append((key, f"{SCOPE_TITLES[name]}: {key.synopsis}", run))
        return found

    async def discover(self) -> Hits:
        """Everything, before the user types."""
        for key, title, run in self._commands():
            yield DiscoveryHit(title, run, help=f"key {key.cap}")

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        for key, title, run in self._commands():
            score = matcher.match(title)
            if score > 0:
                yield Hit(score, matcher.highlight(title), run, text=title, help=f"key {key.cap}")
