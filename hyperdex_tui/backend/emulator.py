"""The emulator beside the app: one child process that holds a build open and answers requests.

The emulator needs numpy, memory and every core, and a damaged file may kill
it: none of that belongs in the process that answers the keyboard. The child
is `hyperdex debug --json-lines` (docs/debugger.md). It outlives the screen
that started it, so the second prompt finds everything loaded; it ends with
the app, whose end closes its stdin.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from compiler.debug_records import Failed, Finished, Hello, Progress, Record, Token
from compiler.debug_wire import LINE_LIMIT, from_line
from compiler.errors import HyperDexError
from compiler.sanitize import one_line
from compiler.workspace import Workspace
from hyperdex_tui.backend.child import compiler_command

STOP_S = 3.0
"""What a child may take to stop a run, or to end, before it is killed."""

_LONG_LINE = 1 << 16
_ID_DIGITS = 64
"""Longer than any token id, short enough to be named in a complaint."""

_BEFORE_END = (Token, Progress, Finished)


class EmulatorGone(HyperDexError):
    """The child ended; the next request starts another one."""


class Emulator:
    """One child of one build. Requests may overlap; each gets the records that carry its number.

    Attributes:
        hello: what the child runs, None while none does.
        restarts: how many children ended unasked.

    Args:
        command: the child's command line.
        watched: a file whose change means that the build is another one.
    """

    def __init__(self, command: Sequence[str], watched: Path) -> None:
        self.hello: Hello | None = None
        self._command = tuple(command)
        self._watched = watched
        self._mark: tuple[int, int, int] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Queue[Record | None]] = {}
        self._numbers = 0
        self._last_words = ""
        self._opening: asyncio.Task[Hello] | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a child."""
        return self._process is not None and self._process.returncode is None

    @property
    def process_id(self) -> int:
        """Of the child, 0 when there is none."""
        return self._process.pid if self._process is not None and self.is_running else 0

    async def start(self) -> Hello:
        """Start the child unless it runs and its build is still the same; what it runs.

        Raises:
            HyperDexError: it ended before it could say so; the message is its own last line.
        """
        if self.is_running and self._mark != self._build_mark():
            await self.close()
        if self.hello is not None and self.is_running:
            return self.hello
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._opening)  # a screen that leaves does not stop it

    async def _open(self) -> Hello:
        import compiler

        self._mark, self._last_words = self._build_mark(), ""
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_LIMIT,
                start_new_session=True,
                cwd=Path(compiler.__file__).parent.parent,
            )
        except OSError as error:
            raise EmulatorGone(f"the emulator cannot be started: {error.strerror}") from None
        greeting = self._waiting[0] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read(process))
        record = await greeting.get()
        self._waiting.pop(0, None)
        if not isinstance(record, Hello):
            await process.wait()
            raise EmulatorGone(self._last_words)
        self.hello = record
        return record

    def _build_mark(self) -> tuple[int, int, int] | None:
        try:
            found = self._watched.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Hand every record to whoever waits for it, until the child ends."""
        assert process.stdout is not None and process.stderr is not None
        complaints = asyncio.create_task(process.stderr.read())
        try:
            async for raw in process.stdout:
                try:
                    long = len(raw) > _LONG_LINE
                    number, record = await asyncio.to_thread(from_line, raw) if long else from_line(raw)
                except ValueError:
                    continue
                if queue := self._waiting.get(number):
                    queue.put_nowait(record)
        except ValueError:  # a line beyond every limit: no child of ours says that
            process.kill()
        code = await process.wait()
        words = (await complaints).decode("utf-8", "replace").strip().splitlines()
        last = words[-1] if words else f"the emulator ended {_manner(code)}"
        self._last_words = one_line(last.removeprefix("hyperdex: error: "), 500)
        if self._process is process:
            self.hello = None
        for queue in self._waiting.values():
            queue.put_nowait(None)

    async def stream(self, do: str, **arguments: object) -> AsyncGenerator[Record, None]:
        """Every record that a request brings; the last one ends it.

        Raises:
            HyperDexError: the request failed, or the child ended.
        """
        await self.start()
        self._numbers += 1
        number = self._numbers
        queue = self._waiting[number] = asyncio.Queue()
        try:
            self._send({"request": number, "do": do, **arguments})
            while (record := await queue.get()) is not None:
                if isinstance(record, Failed):
                    raise HyperDexError(record.error)
                yield record
                if not isinstance(record, _BEFORE_END):
                    return
            raise EmulatorGone(self._last_words, "the next command starts it anew, from the beginning of a prompt")
        finally:
            self._waiting.pop(number, None)

    async def ask(self, do: str, **arguments: object) -> Record:
        """The last record that a request brings.

        Raises:
            HyperDexError: the request failed, or the child ended.
        """
        found: Record | None = None
        async with contextlib.aclosing(self.stream(do, **arguments)) as records:
            async for record in records:
                found = record
        assert found is not None
        return found

    def interrupt(self) -> None:
        """Ask the child to stop the run that goes on."""
        if self.is_running:
            self._send({"request": -1, "do": "interrupt"})

    def _send(self, request: dict[str, object]) -> None:
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(json.dumps(request).encode() + b"\n")

    def kill(self) -> None:
        """End a child that does not listen; whoever waits for it is told."""
        if process_id := self.process_id:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)

    async def close(self) -> None:
        """End the child: politely, then by force."""
        while self._process is None and self._opening is not None and not self._opening.done():
            await asyncio.sleep(0.01)  # it is being made, which takes milliseconds
        process, self._process, self.hello = self._process, None, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except asyncio.TimeoutError:  # not the built-in one before Python 3.11
            process.kill()
            await process.wait()
        if self._reader is not None:
            await self._reader


def _manner(code: int) -> str:
    """How a process ended."""
    if code >= 0:
        return f"with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"by {signal.Signals(-code).name}"
    return f"by signal {-code}"


def prompt_request(hello: Hello | None, text: str) -> dict[str, object]:
    """A prompt as arguments of `start`: text, or token ids where the model has no tokenizer."""
    parts = text.replace(",", " ").split()
    if (
        hello is not None
        and not hello.has_tokenizer
        and all(part.isdecimal() and len(part) <= _ID_DIGITS for part in parts)
    ):
        return {"prompt_ids": [int(part) for part in parts]}
    return {"prompt": text}


def debug_command(prefix: Path, model_id: str, build: str) -> list[str]:
    """The child's command line."""
    place = ("--prefix", str(prefix.absolute()), "--build", build)
    return [*compiler_command("debug", *place, "--json-lines", "--", model_id)]


class Emulators:
    """The children of an app: one at a time, since each may need much memory.

    Args:
        prefix: folder of all models.
    """

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        self._key = ("", "")
        self._current: Emulator | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def of(self, model_id: str, build: str) -> Emulator:
        """The one of a build, not started yet if it is new; that of another build ends."""
        if self._current is not None and self._key == (model_id, build):
            return self._current
        if self._current is not None:
            ending = asyncio.create_task(self._current.close())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        watched = Workspace(self._prefix).model(model_id).inst(build) / "manifest.json"
        self._key = (model_id, build)
        self._current = Emulator(debug_command(self._prefix, model_id, build), watched)
        return self._current

    async def close(self) -> None:
        """End all of them."""
        if self._current is not None:
            await self._current.close()
        self._current, self._key = None, ("", "")
        await asyncio.gather(*self._ending)
