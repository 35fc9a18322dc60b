"""Token ids to text as they come: what is certain is shown, what may still change waits.

In: a tokenizer's decode function, stop strings, one token id after the other.
Out: pieces of text whose concatenation is the text of all tokens, cut before
the first stop string.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compiler.emulator.session import SamplingParameters, Session

REPLACEMENT = "\ufffd"
"""What a tokenizer shows for bytes that are not yet a whole character."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One generated token and the text that became certain with it."""

    token_id: int
    text: str


class Continuation:
    """The text of a growing list of tokens.

    Attributes:
        token_ids: the tokens so far.
        shown: the text given out so far.
        stopped: a stop string was met; further tokens add nothing.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self.decode = decode
        self.stop = tuple(text for text in stop if text)
        self.token_ids: list[int] = []
        self.shown = ""
        self.stopped = False

    def push(self, token_id: int) -> str:
        """Add a token; the text that became certain."""
        self.token_ids.append(token_id)
        if self.stopped:
            return ""
        text = self.decode(self.token_ids)
        return self._give(text, self._stop(text, self._stable(text)))

    def finish(self) -> str:
        """The text that was held back and is certain now that no token follows."""
        if self.stopped or not self.token_ids:
            return ""
        text = self.decode(self.token_ids)
        return self._give(text, self._stop(text, len(text)))

    def _stop(self, text: str, otherwise: int) -> int:
        """Where the earliest stop string begins, or `otherwise` when there is none."""
        found = [at for at in (text.find(stop) for stop in self.stop) if at >= 0]
        self.stopped = bool(found)
        return min(found, default=otherwise)

    def _stable(self, text: str) -> int:
        """Length of the part that later tokens cannot change or turn into a stop string."""
        length = len(text.rstrip(REPLACEMENT))
        held = 0
        for stop in self.stop:
            for count in range(min(len(stop) - 1, length), held, -1):
                if text.endswith(stop[:count], 0, length):
                    held = count
                    break
        return length - held

    def _give(self, text: str, length: int) -> str:
        """text[:length] less what was given already; nothing while a tokenizer rewrites its past."""
        if length <= len(self.shown) or not text.startswith(self.shown):
            return ""
        piece = text[len(self.shown) : length]
        self.shown += piece
        return piece


def stream(
    session: Session,
    prompt_ids: list[int],
    max_new_tokens: int,
    parameters: SamplingParameters,
    text: Continuation,
    rows: list[Any] | None = None,
) -> Iterator[Piece]:
    """Tokens as they come, until the machine or a stop string ends them.

    Args:
        session: the machine.
        prompt_ids: at least one token.
        max_new_tokens: most tokens to generate.
        parameters: how they are chosen.
        text: where they become text.
        rows: gets the logits of every token, float32 [vocabulary]; None: not wanted.

    Raises:
        UsageError: an argument is out of range.
        MachineFault: while iterating.
    """
    observer = None if rows is None else lambda values, _index: rows.append(values)
    for step in session.generate(prompt_ids, max_new_tokens, parameters, observer=observer):
        piece = text.push(step.token_id)
        if step.finished and not text.stopped:
            piece += text.finish()
        yield Piece(step.token_id, piece)
        if text.stopped:
            return
