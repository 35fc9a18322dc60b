"""A form of choices, numbers and switches, one per row, changed with the arrow keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from textual import events
from textual.message import Message
from textual.strip import Strip

from hyperdex_tui.formatting import pad
from hyperdex_tui.widgets.painted import Line, Painted, line

_LABEL_CELLS = 16
_VALUE_CELLS = 20


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a form.

    Attributes:
        name: key of the value.
        label: what the user reads.
        steps: values the arrow keys walk through, ascending for numbers.
        value: current value, not necessarily one of `steps` for a number.
        limit: largest number that may be typed; 0: not a number.
        hint: what the value means, given the value.
        shown: how the value is written.
    """

    name: str
    label: str
    steps: tuple[Any, ...]
    value: Any
    limit: int = 0
    hint: Callable[[Any], str] = field(default=lambda _value: "")
    shown: Callable[[Any], str] = field(default=str)

    def stepped(self, direction: int) -> Field:
        """With the next (+1) or previous (-1) value."""
        if self.value in self.steps:
            index = self.steps.index(self.value) + direction
            around = index % len(self.steps) if not self.limit else max(0, min(index, len(self.steps) - 1))
            return replace(self, value=self.steps[around])
        larger = [step for step in self.steps if (step > self.value if direction > 0 else step < self.value)]
        if not larger:
            return self
        return replace(self, value=larger[0] if direction > 0 else larger[-1])

    def typed(self, digit: int, fresh: bool) -> Field:
        """With a digit typed; `fresh` begins a new number."""
        number = digit if fresh else int(self.value) * 10 + digit
        return replace(self, value=min(number, self.limit)) if self.limit else self

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off."""
        return isinstance(self.value, bool)


class Form(Painted, can_focus=True):
    """The rows; posts Changed after every change."""

    class Changed(Message):
        """A value changed."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        super().__init__(id="form")
        self._fields = list(fields)
        self._typing = False
        self.cursor = 0

    @property
    def values(self) -> dict[str, Any]:
        """Value of every field by name."""
        return {entry.name: entry.value for entry in self._fields}

    def move(self, step: int) -> None:
        """To another row, around the ends."""
        self.cursor = (self.cursor + step) % len(self._fields)
        self._typing = False
        self.refresh()

    def step(self, direction: int) -> None:
        """Change the current row."""
        self._typing = False
        self._set(self._fields[self.cursor].stepped(direction))

    def toggle(self) -> None:
        """Switch the current row, or step it."""
        self.step(1)

    def _set(self, entry: Field) -> None:
        if entry.value != self._fields[self.cursor].value:
            self._fields[self.cursor] = entry
            self.refresh()
            self.post_message(self.Changed())

    def on_key(self, event: events.Key) -> None:
        """Digits and backspace edit a number."""
        entry = self._fields[self.cursor]
        if not entry.limit:
            return
        if event.key.isdecimal() and len(event.key) == 1:  # not "²", a digit that is no number
            event.stop()
            self._set(entry.typed(int(event.key), fresh=not self._typing))
            self._typing = True
        elif event.key == "backspace":
            event.stop()
            self._typing = True
            self._set(replace(entry, value=int(entry.value) // 10))

    def on_click(self, event: events.Click) -> None:
        """To the clicked row."""
        if event.y + self._top < len(self._fields):
            self.move(event.y + self._top - self.cursor)

    @property
    def _top(self) -> int:
        """First row in sight: a form that is taller than its place follows the cursor."""
        return max(0, self.cursor - max(1, self.size.height) + 1)

    def on_focus(self) -> None:
        """Show the cursor as active."""
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One field."""
        width = self.size.width
        index = y + self._top
        if index >= len(self._fields):
            return self.paint((), width)
        entry, here = self._fields[index], index == self.cursor
        spans: Line = line(
            ("▶ " if here else "  ", "accent"),
            (pad(entry.label, _LABEL_CELLS), "text"),
            (pad(self._value(entry, here), _VALUE_CELLS), "strong" if here else "text"),
            (entry.hint(entry.value), "dim"),
        )
        return self.paint(spans, width, "cursor" if here and self.has_focus else "")

    def _value(self, entry: Field, here: bool) -> str:
        if entry.is_switch:
            return "  [x] on" if entry.value else "  [ ] off"
        shown = entry.shown(entry.value)
        return f"‹ {shown} ›" if here else f"  {shown}"
