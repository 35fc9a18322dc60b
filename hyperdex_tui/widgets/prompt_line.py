"""One line at the bottom in which the user types a filter, a search text or a model id."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Label

from hyperdex_tui.messages import LineChanged, LineEntered


class PromptLine(Horizontal):
    """A label and an input; posts LineChanged and LineEntered with its `purpose`."""

    def __init__(self, purpose: str, label: str, initial: str = "", placeholder: str = "") -> None:
        super().__init__(id="prompt-line")
        self.purpose = purpose
        self._label = label
        self._initial = initial
        self._placeholder = placeholder
        self._waiting: list[str] | None = []
        """Keys typed before the input had the keyboard; None once it has it."""

    def compose(self) -> ComposeResult:
        """Label and input."""
        yield Label(self._label, markup=False)
        entry = Input(self._initial, placeholder=self._placeholder, compact=True, select_on_focus=False)
        entry.cursor_blink = False
        yield entry

    def on_mount(self) -> None:
        """Take the keyboard, and what was typed for it before."""
        entry = self.query_one(Input)
        entry.focus()
        self.call_after_refresh(self._catch_up)

    def _catch_up(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        entry = self.query_one(Input)
        for character in waiting:
            if character == "\r":
                self.post_message(LineEntered(self.purpose, entry.value))
                return
            entry.insert_text_at_cursor(character)

    def take(self, event: events.Key) -> bool:
        """Whether a key is text for this line that did not reach it, because it was typed too fast."""
        if not self.is_attached:
            return False
        if self._waiting is not None and (event.is_printable or event.key == "enter"):
            self._waiting.append("\r" if event.key == "enter" else event.character or "")
            return True
        if event.is_printable and event.character:  # the input keeps those that reach it: this one did not
            self.query_one(Input).insert_text_at_cursor(event.character)
            return True
        return False

    def on_input_changed(self, event: Input.Changed) -> None:
        """Pass the text on."""
        event.stop()
        self.post_message(LineChanged(self.purpose, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Pass the text on."""
        event.stop()
        self.post_message(LineEntered(self.purpose, event.value))
