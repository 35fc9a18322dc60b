"""Asks inspection processes about a program: they compute, this process keeps painting.

A long program is searched by two processes, each with its part of the rows. They
are started when they are first needed and ended with the screen, or to cancel
what runs: a regular expression cannot be stopped any other way.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from hyperdex_tui.backend.query import Term

_PARALLEL_ROWS = 500_000
"""A program shorter than this is searched by one process."""

_LAST_MOMENT_S = 1.0
"""What the kernel may take to end a process that a signal killed."""

TIMED_LIMIT = 1_000_000
"""Instructions of the longest program that is timed or compared: the clock walks all of a token, half a minute here."""

Progress = Callable[[float], None]


class InspectionError(Exception):
    """A request was not answered; the message is for the user."""


class Interrupted(InspectionError):
    """The request was cancelled."""


class _Process:
    """One inspection process and its range of instructions."""

    def __init__(self, folder: Path, begin: int, end: int, mark: str) -> None:
        self._arguments = (str(folder.absolute()), str(begin), str(end), mark)
        self._process: subprocess.Popen[bytes] | None = None
        self._busy = threading.Lock()
        self._life = threading.Lock()
        self._is_closed = False
        self._interrupted = False
        self.rows = end - begin

    def warm_up(self) -> subprocess.Popen[bytes]:
        """Start the process if it does not run.

        Raises:
            InspectionError: it cannot be started, or was closed (`Interrupted`).
        """
        with self._life:
            if self._is_closed:
                raise Interrupted("closed")
            if self._process is None:
                self._process = self._started()
            return self._process

    def _started(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "hyperdex_tui.backend.inspection", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
                cwd=Path(__file__).parents[2],  # `-m` looks there first, never in the user's folder
            )
        except OSError as error:
            raise InspectionError(f"no process can be started to look into the program: {error.strerror}") from None

    def ask(self, request: dict[str, Any], on_done: Callable[[int], None]) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for its answer; called in a thread."""
        with self._busy:
            self._interrupted = False
            process = self.warm_up()
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
                answer = _read_answer(process.stdout, on_done)
            except (OSError, ValueError):
                answer = None
            if answer is None:
                code = self._discard()
                if self._interrupted or self._is_closed:
                    raise Interrupted("cancelled")
                if code == -signal.SIGBUS:
                    raise InspectionError("a file of the build was cut short while it was looked into")
                raise InspectionError("the process that looks into the program ended unexpectedly")
        if "error" in answer[0]:
            raise InspectionError(str(answer[0]["error"]))
        return answer

    def interrupt(self) -> None:
        """End the process while it works; one that waits goes on waiting."""
        process = self._process
        if self._busy.locked() and process is not None:
            self._interrupted = True
            process.kill()

    def close(self) -> None:
        """End the process for good."""
        self._is_closed = True
        self._discard()

    def _discard(self) -> int:
        """End the process; the next request starts another. How it ended."""
        with self._life:
            process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None and not self._ends_by_itself(process):
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                _close(pipe)
        return process.wait()

    def _ends_by_itself(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether a process that said no more has just a signal to die of."""
        if self._interrupted or self._is_closed:
            return False
        try:
            process.wait(_LAST_MOMENT_S)
        except subprocess.TimeoutExpired:
            return False
        return True


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:  # what was buffered for a process that is gone
        return


def _read_answer(pipe: IO[bytes], on_done: Callable[[int], None]) -> tuple[dict[str, Any], bytes] | None:
    """The next answer; None when the process ended before it was whole."""
    for line in pipe:
        value = json.loads(line)
        if "done" in value:
            on_done(int(value["done"]))
            continue
        size = int(value.get("bytes", 0))
        content = pipe.read(size)
        return (value, content) if len(content) == size else None
    return None


class Inspector:
    """The inspection processes of one program.

    Args:
        folder: instruction folder of the build.
        count: instructions of its program.
        mark: of its program file; a program that was replaced since is not looked into. "" for any.
    """

    def __init__(self, folder: Path, count: int, mark: str = "") -> None:
        parts = min(2, os.cpu_count() or 1) if count >= _PARALLEL_ROWS else 1
        borders = [count * part // parts for part in range(parts + 1)]
        self._processes = [_Process(folder, *border, mark) for border in itertools.pairwise(borders)]
        self._count = count

    async def warm_up(self) -> None:
        """Start the processes, before the first request is typed."""
        with suppress(InspectionError):  # the request will say so
            await asyncio.gather(*(asyncio.to_thread(process.warm_up) for process in self._processes))

    async def search(self, terms: Sequence[Term], on_progress: Progress) -> array[int]:
        """Instructions that satisfy all terms, ascending.

        Args:
            terms: at least one.
            on_progress: called in the event loop with the part that is done, 0 to 1.

        Raises:
            InspectionError: the search could not be made, or was cancelled (`Interrupted`).
        """
        loop = asyncio.get_running_loop()
        done = [0] * len(self._processes)

        def report(part: int, rows: int) -> None:
            done[part] = rows
            on_progress(sum(done) / max(1, self._count))

        def run(part: int) -> bytes:
            tell: Callable[[int], None] = lambda rows: _call(loop, report, part, rows)  # noqa: E731
            return self._processes[part].ask(request, tell)[1]

        request = {"do": "search", "terms": [[term.field, term.pattern, term.is_exact] for term in terms]}
        answers = await asyncio.gather(
            *(asyncio.to_thread(run, part) for part in range(len(self._processes))), return_exceptions=True
        )
        found = array("i")
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            found.frombytes(answer)
        if sys.byteorder == "big":
            found.byteswap()
        return found

    async def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The answer to a request about single instructions.

        Raises:
            InspectionError: it cannot be answered, or was cancelled.
        """
        return await asyncio.to_thread(self._processes[0].ask, request, lambda rows: None)

    def interrupt(self) -> None:
        """Cancel what runs."""
        for process in self._processes:
            process.interrupt()

    def close(self) -> None:
        """End all processes."""
        self.interrupt()
        for process in self._processes:
            process.close()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    """Call in the event loop, unless it has ended meanwhile."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)
