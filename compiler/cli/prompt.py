"""What `hyperdex generate` is asked to continue: texts, or token ids that need no tokenizer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.cli.output import warn
from compiler.errors import CheckpointError, UsageError
from compiler.sanitize import one_line

if TYPE_CHECKING:
    from compiler.workspace import ModelFolder

Decode = Callable[[Sequence[int]], str]
Prompt = str | list[int]

_LIMIT_BYTES = 64 << 20


def parse_prompt(prompt: str | None, prompt_ids: str | None) -> Prompt:
    """The prompt as text or as ids, whichever was given.

    Raises:
        UsageError: neither or both were given, the ids are no list of numbers, or a text is not UTF-8.
    """
    if (prompt is None) == (prompt_ids is None):
        raise UsageError("give either PROMPT or --prompt-ids", "see --help")
    if prompt is not None:
        return shell_text("the prompt", prompt)
    parts = [part.strip() for part in (prompt_ids or "").split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise UsageError(f"--prompt-ids {(prompt_ids or '')[:60]!r} is not a list of token ids like 1,2,3")
    return [int(part) for part in parts]


def parse_prompts(prompt: str | None, prompt_ids: str | None, prompts: Path | None) -> tuple[Prompt, ...]:
    """Every prompt that was given: one as `parse_prompt` has it, the text of stdin for "-", or the lines of a file.

    Raises:
        UsageError: none or several kinds were given, a file without a prompt, or a text is not UTF-8.
    """
    if prompts is not None:
        if prompt is not None or prompt_ids is not None:
            raise UsageError("--prompts, PROMPT and --prompt-ids exclude each other", "give one of them")
        texts = tuple(line for line in _read_text(prompts).splitlines() if line.strip())
        if not texts:
            raise UsageError(f"{_name(prompts)} holds no prompt", "write one on each line")
        return texts
    if prompt is None and prompt_ids is None:
        raise UsageError("there is nothing to continue", "give PROMPT, --prompt-ids or --prompts")
    if prompt == "-":
        prompt = _read_text(Path("-")).removesuffix("\n")
    return (parse_prompt(prompt, prompt_ids),)


def read_prompts(
    given: Sequence[Prompt], folder: ModelFolder, stop: Sequence[str]
) -> tuple[list[list[int]], Decode | None]:
    """Token ids of prompts, and what makes text of tokens; None where only ids can be shown.

    A tokenizer that cannot be read is told on stderr when nothing needs it.

    Raises:
        UsageError: there is no tokenizer and something needs one.
        CheckpointError: it cannot be read and something needs it.
    """
    from compiler.cli.tokenizer import Tokenizer, has_tokenizer

    ids = [each for each in given if not isinstance(each, str)]
    if len(ids) < len(given):
        tokenizer = Tokenizer(folder.ckpt)
        return [tokenizer.encode(each) if isinstance(each, str) else each for each in given], tokenizer.decode
    if not has_tokenizer(folder.ckpt):
        if stop:
            raise UsageError(f"{folder.model_id} has no tokenizer, so --stop {stop[0]!r} cannot be found")
        return ids, None
    try:
        return ids, Tokenizer(folder.ckpt).decode
    except CheckpointError as error:
        if stop:
            raise
        warn(f"{error}; the ids of the tokens are shown")
        return ids, None


def _read_text(path: Path) -> str:
    """The text of a file, or of stdin for "-".

    Raises:
        UsageError: it cannot be read, is too long, or is not UTF-8.
    """
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(_LIMIT_BYTES + 1)
        else:
            with path.open("rb") as file:
                content = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{_name(path)} cannot be read: {error.strerror}") from None
    if len(content) > _LIMIT_BYTES:
        raise UsageError(f"{_name(path)} holds more than {_LIMIT_BYTES >> 20} MiB", "split it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{_name(path)} is not UTF-8 (byte {error.start})", "pass UTF-8 text") from None


def _name(path: Path) -> str:
    return "stdin" if str(path) == "-" else one_line(str(path), 200)


def shell_text(what: str, text: str) -> str:
    """An argument as the UTF-8 text that it is, in whatever locale Python read it.

    Raises:
        UsageError: what the shell passed is no text, naming the first such byte.
    """
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} is not UTF-8 (byte {error.start})", "pass UTF-8 text") from None
    except UnicodeEncodeError as error:
        raise UsageError(f"{what} is no text (character {error.start})", "pass UTF-8 text") from None
