"""What `hyperdex generate` writes: the text, the ids or the JSON of a prompt's tokens, and how fast they came.

In: tokens as they come, then the result. Out: stdout, flushed at each token; the pace on stderr. Under torchrun the
first process alone writes.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from enum import Enum, auto
from typing import Any

from compiler.cli.continuation import Piece
from compiler.quantity import counted
from compiler.sanitize import printable


class Form(Enum):
    """What stdout carries."""

    TEXT = auto()
    IDS = auto()
    JSON = auto()
    STREAM = auto()


@dataclass(frozen=True, slots=True)
class Result:
    """The generation of one prompt, as JSON has it.

    Attributes:
        index: of the prompt among those given.
        prompt: its text; None where ids were given.
        token_ids: the new tokens, a stop token included.
        text: what was shown of them, without special tokens, up to a stop string.
        finish_reason: `stop` at a stop token or string, `length` where --max-new-tokens ended it.
    """

    index: int
    model_id: str
    build: str
    prompt: str | None
    prompt_token_ids: list[int]
    token_ids: list[int]
    text: str
    finish_reason: str


class Pace:
    """How fast tokens come on this machine, which says nothing of the LPU's speed."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.times: list[float] = []

    def token(self) -> None:
        """Note that a token has come."""
        self.times.append(time.perf_counter() - self.began)

    def fields(self) -> dict[str, float | None]:
        """Seconds to the first and to the last token, and tokens per second after the first; None: not known."""
        first, last = (self.times[0], self.times[-1]) if self.times else (None, None)
        rate = (
            (len(self.times) - 1) / (last - first) if first is not None and last is not None and last > first else None
        )
        return {"first_token_s": first, "seconds": last, "tokens_per_s": rate}

    def line(self, prompt_tokens: int) -> str:
        """The same for a person."""
        fields = self.fields()
        text = f"{counted(prompt_tokens, 'prompt token')}, {counted(len(self.times), 'new token')}"
        if fields["first_token_s"] is not None:
            text += f": the first after {fields['first_token_s']:.2f} s"
        if fields["tokens_per_s"] is not None:
            text += f", then {fields['tokens_per_s']:.1f} tokens/s"
        return f"{text} (measured on this machine's emulator, not the LPU's speed)"


class Transcript:
    """stdout of one prompt's generation; a context manager that ends a line which a failure broke off."""

    def __init__(self, form: Form, index: int) -> None:
        self.form = form
        self.index = index
        self.shown = 0
        self.is_open = False

    def __enter__(self) -> Transcript:
        return self

    def __exit__(self, *_failure: object) -> None:
        if self.is_open:
            self._end_line()

    def token(self, piece: Piece) -> None:
        """Show one token as far as it can be."""
        if self.form is Form.STREAM:
            _say(json.dumps({"index": self.index, "token_id": piece.token_id, "text": piece.text}) + "\n")
        elif self.form is Form.IDS:
            self._say_part(f"{',' if self.shown else ''}{piece.token_id}")
        elif self.form is Form.TEXT:
            self._say_part(printable(piece.text, keep="\n\t"))
        self.shown += 1

    def end(self, result: Result, times: dict[str, Any]) -> None:
        """Show the result; `times` are further fields of the JSON object."""
        if self.form is Form.STREAM:
            _say(json.dumps({"done": True, **asdict(result), **times}) + "\n")
        elif self.form is Form.JSON:
            _say(json.dumps({**asdict(result), **times}) + "\n")
        else:
            self._end_line()

    def _say_part(self, text: str) -> None:
        self.is_open = True
        _say(text)

    def _end_line(self) -> None:
        self.is_open = False
        _say("\n")


def _say(text: str) -> None:
    from compiler.cli.ranks import is_speaker

    if is_speaker():
        sys.stdout.write(text)
        sys.stdout.flush()
