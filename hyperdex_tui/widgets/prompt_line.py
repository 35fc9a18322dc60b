"""One line at the bottom in which the user types a filter, a search text or a model id."""

from __future__ import annotations

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

    def compose(self) -> ComposeResult:
        """Label and input."""
        yield Label(self._label, markup=False)
        entry = Input(self._initial, placeholder=self._placeholder, compact=True, select_on_focus=False)
        entry.cursor_blink = False
        yield entry

    def on_mount(self) -> None:
        """Take the keyboard."""
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Pass the text on."""
        event.stop()
        self.post_message(LineChanged(self.purpose, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Pass the text on."""
        event.stop()
        self.post_message(LineEntered(self.purpose, event.value))
