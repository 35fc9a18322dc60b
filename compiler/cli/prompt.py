"""What `hyperdex generate` is asked to continue: text, or token ids that need no tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compiler.cli.output import warn
from compiler.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from compiler.workspace import ModelFolder

Decode = Callable[[Sequence[int]], str]


def parse_prompt(prompt: str | None, prompt_ids: str | None, stop: Sequence[str]) -> str | list[int]:
    """The prompt as text or as ids, whichever was given.

    Raises:
        UsageError: neither or both were given, the ids are no list of numbers, or a text is not UTF-8.
    """
    if (prompt is None) == (prompt_ids is None):
        raise UsageError("give either PROMPT or --prompt-ids", "see hyperdex generate --help")
    for text in stop:
        _check_utf8("--stop", text)
    if prompt is not None:
        _check_utf8("the prompt", prompt)
        return prompt
    parts = [part.strip() for part in (prompt_ids or "").split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise UsageError(f"--prompt-ids {(prompt_ids or '')[:60]!r} is not a list of token ids like 1,2,3")
    return [int(part) for part in parts]


def read_prompt(given: str | list[int], folder: ModelFolder, stop: Sequence[str]) -> tuple[list[int], Decode | None]:
    """Token ids of a prompt, and what makes text of tokens; None where only ids can be shown.

    A tokenizer that cannot be read is told on stderr when nothing needs it.

    Raises:
        UsageError: there is no tokenizer and something needs one.
        CheckpointError: it cannot be read and something needs it.
    """
    from compiler.cli.tokenizer import Tokenizer, has_tokenizer

    if isinstance(given, str):
        tokenizer = Tokenizer(folder.ckpt)
        return tokenizer.encode(given), tokenizer.decode
    if not has_tokenizer(folder.ckpt):
        if stop:
            raise UsageError(f"{folder.model_id} has no tokenizer, so --stop {stop[0]!r} cannot be found")
        return given, None
    try:
        return given, Tokenizer(folder.ckpt).decode
    except CheckpointError as error:
        if stop:
            raise
        warn(f"{error}; the ids of the tokens are shown")
        return given, None


def _check_utf8(what: str, text: str) -> None:
    """Refuse what the shell passed as bytes that are no text.

    Raises:
        UsageError: naming the first such byte.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        at = len(text[: error.start].encode("utf-8"))
        raise UsageError(f"{what} is not UTF-8 (byte {at})", "pass UTF-8 text") from None
