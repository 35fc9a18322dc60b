"""What every screen shares: title bar, body, prompt line, key bar, and one meaning of Esc."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from hyperdex_tui.messages import GoBack
from hyperdex_tui.widgets.bars import KeyBar, TitleBar
from hyperdex_tui.widgets.painted import Painted

Severity = Literal["information", "warning", "error"]


class AppScreen(Screen[None]):
    """A full screen of the app. Subclasses set `scope` and compose a body."""

    scope: ClassVar[str] = "app"
    BINDINGS: ClassVar[list[BindingType]] = []
    AUTO_FOCUS = "RowList"

    def __init__(self, trail: str, note: str = "") -> None:
        super().__init__()
        self.trail = trail
        self._first_note = note

    def compose(self) -> ComposeResult:
        """Bars around the body."""
        yield TitleBar(self.trail, note=self._first_note)
        yield from self.compose_body()
        yield KeyBar(self.scope)

    def compose_body(self) -> ComposeResult:
        """The part between the bars."""
        raise NotImplementedError

    def note(self, text: str) -> None:
        """Set the right part of the title bar."""
        self.query_one(TitleBar).show(note=text)

    def say(self, text: str, severity: Severity = "information") -> None:
        """A short message over the screen; `text` is never read as markup."""
        from compiler.sanitize import one_line

        self.notify(one_line(text), severity=severity, markup=False, timeout=8 if severity == "error" else 4)

    def open_prompt(self, purpose: str, label: str, initial: str = "", placeholder: str = "") -> None:
        """Show the prompt line above the key bar; a second call replaces the first."""
        from hyperdex_tui.widgets.prompt_line import PromptLine

        for old in self.query(PromptLine):
            old.remove()
        bar = self.query_one(KeyBar)
        bar.show("prompt")
        self.mount(PromptLine(purpose, label, initial, placeholder), before=bar)

    def close_prompt(self) -> bool:
        """Remove the prompt line and give the keyboard back; False when there was none."""
        found = self.query("#prompt-line")
        if not found:
            return False
        found.remove()
        self.query_one(KeyBar).show(self.scope)
        for widget in self.query(Painted):
            if widget.can_focus:
                widget.focus()
                break
        return True

    def step_back(self) -> bool:
        """Undo the last narrowing of the view; False when there is nothing left but to leave."""
        return False

    def action_back(self) -> None:
        """Esc: the prompt, then the narrowing, then the screen."""
        if not self.close_prompt() and not self.step_back():
            self.post_message(GoBack())
