"""Tokens from the emulator, streamed by a child process.

The emulator needs numpy and the tokenizer needs transformers: neither enters
the app's process. The child prints one JSON object per token and a last one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from compiler.errors import HyperDexError
from compiler.sanitize import one_line, printable

_LINE_LIMIT = 64 << 20
_STOP_S = 3.0


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `text` is what became certain with it and keeps its newlines."""

    token_id: int
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last record: all new tokens and their text.

    Attributes:
        device_ms: emulated milliseconds per token of the devices, 0.0 when unknown.
        device_ttft_ms: emulated milliseconds to the first token.
    """

    token_count: int
    text: str
    device_ms: float = 0.0
    device_ttft_ms: float = 0.0


def generate_command(prefix: Path, model_id: str, build: str, prompt: str, max_new_tokens: int) -> list[str]:
    """The child's command line; a prompt that begins with a dash is still a prompt."""
    command = [sys.executable, "-m", "compiler", "generate", "--prefix", str(prefix.absolute()), "--build", build]
    return [*command, "--max-new-tokens", str(max_new_tokens), "--stream-json", "--timing", "--", model_id, prompt]


class Generation:
    """One run of a child. Iterate `tokens()`; `stop()` ends it at any time."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False

    @property
    def exit_code(self) -> int | None:
        """How the child ended; None while it runs."""
        return self._process.returncode if self._process is not None else None

    async def tokens(self) -> AsyncGenerator[Token | Finished, None]:
        """What the child says, as it says it.

        Raises:
            HyperDexError: the child failed; the message is its own last line.
        """
        import compiler

        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            start_new_session=True,
            cwd=Path(compiler.__file__).parent.parent,
        )
        assert process.stdout is not None and process.stderr is not None
        complaints = asyncio.create_task(process.stderr.read())
        try:
            async for raw in process.stdout:
                if (record := _parse(raw)) is not None:
                    yield record
            code = await process.wait()
            words = (await complaints).decode("utf-8", "replace").strip().splitlines()
            if code and not self._stopped:
                last = words[-1] if words else f"the emulator ended with exit code {code}"
                raise HyperDexError(one_line(last.removeprefix("hyperdex: error: "), 500))
        finally:
            await self.stop()
            await complaints

    async def stop(self) -> None:
        """End the child if it runs: politely, then by force."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._stopped = True
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_S)
            except asyncio.TimeoutError:  # not the built-in one before Python 3.11
                process.kill()
                await process.wait()


def _parse(raw: bytes) -> Token | Finished | None:
    """A record of the stream; None for anything else."""
    try:
        loaded = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(loaded, dict):
        return None
    text = printable(str(loaded.get("text", "")), keep="\n")
    if loaded.get("done"):
        found = loaded.get("token_ids")
        count = len(found) if isinstance(found, list) else 0
        return Finished(count, text, _milliseconds(loaded, "ms_per_token"), _milliseconds(loaded, "ttft_ms"))
    number = loaded.get("token_id")
    return Token(number, text) if isinstance(number, int) else None


def _milliseconds(loaded: dict[str, object], name: str) -> float:
    timing = loaded.get("timing")
    value = timing.get(name) if isinstance(timing, dict) else None
    return float(value) if isinstance(value, int | float) else 0.0
