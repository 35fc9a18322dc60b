"""How tokens are chosen, as a line of fields; an empty field is the default that its hint names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Label

from compiler.sanitize import one_line

_DRAWS = ("temperature", "top_k", "top_p", "seed")
"""A field of these that is filled in asks for drawing; without any the most probable token is taken."""


@dataclass(frozen=True, slots=True)
class _Field:
    """One field: its name in a request, its label, what an empty one means, and how its text is read."""

    name: str
    label: str
    hint: str
    read: Callable[[str], Any]


_FIELDS = (
    _Field("temperature", "temp", "greedy", float),
    _Field("top_k", "top-k", "all", int),
    _Field("top_p", "top-p", "1.0", float),
    _Field("repetition_penalty", "penalty", "1.0", float),
    _Field("seed", "seed", "0", int),
)


class SamplingFields(Horizontal):
    """Temperature, top-k, top-p, repetition penalty, seed, and a text to stop before."""

    def compose(self) -> ComposeResult:
        """Label and input of each."""
        for field in _FIELDS:
            yield Label(field.label, markup=False)
            yield plain_input("", field.name, field.hint)
        yield Label("stop", markup=False)
        yield plain_input("", "stop", "text")

    def request(self) -> dict[str, object]:
        """What the fields ask for, as arguments of `start`; ranges are checked by the emulator.

        Raises:
            ValueError: a field holds no number.
        """
        sampling: dict[str, object] = {}
        for field in _FIELDS:
            text = self.query_one(f"#{field.name}", Input).value.strip()
            if not text:
                continue
            try:
                sampling[field.name] = field.read(text)
            except ValueError:
                kind = "whole number" if field.read is int else "number"
                raise ValueError(f"{field.label}: {one_line(text, 20)!r} is no {kind}") from None
        if sampling.get("temperature") == 0:  # what other programs call greedy
            del sampling["temperature"]
        elif any(name in sampling for name in _DRAWS):
            sampling["do_sample"] = True
        found: dict[str, object] = {"sampling": sampling} if sampling else {}
        stop = self.query_one("#stop", Input).value.replace("\\n", "\n")
        return {**found, "stop": [stop]} if stop else found


def plain_input(value: str, id: str, placeholder: str) -> Input:
    """A field of one row whose cursor does not blink: an idle app writes nothing."""
    entry = Input(value, id=id, placeholder=placeholder, compact=True, select_on_focus=False)
    entry.cursor_blink = False
    return entry
