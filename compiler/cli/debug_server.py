"""`hyperdex debug --json-lines`: requests on stdin, records on stdout, for the app and other programs.

A request is an object on one line: `request` its number, `do` what to do, and
arguments by name. Every request is answered by one last record that carries
its number: the one it asks for, or `failed`; a run tells tokens and progress
before. `interrupt` is obeyed at once and stops the run that goes on. What
needs only the clock is answered while the machine runs. The end of stdin ends
the process, whatever it does.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import BinaryIO

from compiler.cli.debug_session import DebugSession
from compiler.cli.failure import as_error
from compiler.debug_records import Done, Failed, Progress, Record, Token
from compiler.debug_wire import to_line
from compiler.emulator.session import SamplingParameters
from compiler.errors import HyperDexError, UsageError
from compiler.sanitize import one_line

REQUEST_LIMIT = 4 << 20
GRACE_S = 2.0
"""What a run may take to stop once nobody listens."""

Arguments = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Request:
    """One line of stdin."""

    number: int
    do: str
    arguments: Arguments


class DebugServer:
    """Carries out requests, one after the other.

    Args:
        open_session: makes the session, given what to call with tokens and progress.
        source: lines of requests.
        sink: takes the records.
    """

    def __init__(
        self,
        open_session: Callable[[Callable[[Token], None], Callable[[Progress], None]], DebugSession],
        source: BinaryIO,
        sink: BinaryIO,
    ) -> None:
        self._source = source
        self._sink = sink
        self._writing = threading.Lock()
        self._counting = threading.Lock()
        self._current = 0
        self._pending = 0
        self._signalled = _pipe()
        self._machine: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._clock: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._session = open_session(
            lambda token: self._say(token, self._current), lambda progress: self._say(progress, self._current)
        )

    def serve(self) -> None:
        """Until the end of stdin, or `quit`."""
        self._say(self._session.hello())
        signal.signal(signal.SIGINT, lambda _number, _frame: self._obey_signals())
        signal.set_wakeup_fd(self._signalled[1], warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the reader gets it, in order with the requests
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        threading.Thread(target=self._work, args=(self._clock, _CLOCK), name="clock", daemon=True).start()
        with suppress(HyperDexError):  # the prompt that needs what is missing will say so
            self._session.prepare()
        self._work(self._machine, _MACHINE)

    def _say(self, record: Record, request: int = 0) -> None:
        with self._writing:
            self._sink.write(to_line(record, request).encode() + b"\n")
            self._sink.flush()

    def _read(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        for line in _lines(self._source):
            self._obey_signals()
            try:
                request = parse_request(line)
            except UsageError as error:
                self._say(Failed(str(error), error.exit_code))
                continue
            if request.do == "interrupt":
                self._interrupt()
                self._say(Done(), request.number)
            elif request.do == "quit":
                break
            elif request.do in _CLOCK:
                self._clock.put(request)
            else:
                self._count(1)
                self._machine.put(request)
        self._machine.put(None)
        self._session.debugger.interrupt()
        impatience = threading.Timer(GRACE_S, os._exit, (0,))  # a long plan may still run: nobody waits for it
        impatience.daemon = True
        impatience.start()

    def _interrupt(self) -> None:
        """Stop what runs or is about to; while the machine stands still there is nothing to stop."""
        if self._pending:
            self._session.debugger.interrupt()

    def _obey_signals(self) -> None:
        """Interrupt what was pending when a signal came: once per signal, by whoever sees it first.

        The handler runs when the main thread next does something, which may be the request after the signal; the
        pipe is written when the signal comes, and read before a request that comes later is counted.
        """
        was_pending = self._pending > 0
        with suppress(BlockingIOError):
            if os.read(self._signalled[0], 1 << 10) and was_pending:
                self._session.debugger.interrupt()

    def _count(self, change: int) -> None:
        with self._counting:
            self._pending += change

    def _work(self, requests: queue.SimpleQueue[Request | None], actions: Mapping[str, Action]) -> None:
        while (request := requests.get()) is not None:
            self._current = request.number if actions is _MACHINE else self._current
            try:
                action = actions.get(request.do)
                if action is None:
                    known = ", ".join(sorted((*_MACHINE, *_CLOCK, "interrupt", "quit")))
                    raise UsageError(f"{request.do[:40]!r} is no request", f"there are {known}")
                answers = list(action(self._session, request.arguments))
            except Exception as failure:
                error = as_error(failure)
                answers = [Failed(one_line(str(error)), error.exit_code)]
            if actions is _MACHINE:
                self._count(-1)
            for record in answers:
                self._say(record, request.number)


def _pipe() -> tuple[int, int]:
    """Two ends, neither of which ever waits."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines; one that is too long comes as far as it is allowed, and its rest is dropped."""
    while line := source.readline(REQUEST_LIMIT + 1):
        yield line
        while len(line) > REQUEST_LIMIT and not line.endswith(b"\n"):
            line = source.readline(REQUEST_LIMIT + 1)
            if not line:
                return


def parse_request(line: bytes) -> Request:
    """Read a request; its arguments are checked by what it asks for.

    Raises:
        UsageError: it is none.
    """
    if len(line) > REQUEST_LIMIT:
        raise UsageError(f"a request has more than {REQUEST_LIMIT} bytes")
    try:
        loaded = json.loads(line)
    except (ValueError, RecursionError):
        loaded = None
    if not isinstance(loaded, dict):
        raise UsageError(f"not a JSON object: {one_line(line[:80].decode('utf-8', 'replace'), 60)!r}")
    number, do = loaded.pop("request", 0), loaded.pop("do", "")
    if type(number) is not int or not isinstance(do, str):
        raise UsageError("request is a number and do is a text", 'like {"request": 1, "do": "step"}')
    return Request(number, do, loaded)


def _text(arguments: Arguments, name: str, default: str = "") -> str:
    value = arguments.get(name, default)
    if not isinstance(value, str):
        raise UsageError(f"{name} is {one_line(repr(value), 40)}, expected a text")
    return value


def _integer(arguments: Arguments, name: str, default: int) -> int:
    value = arguments.get(name, default)
    if type(value) is not int or abs(value) >= 1 << 63:
        raise UsageError(f"{name} is {one_line(repr(value)[:60], 40)}, expected a number")
    return value


def _truth(arguments: Arguments, name: str, default: bool) -> bool:
    value = arguments.get(name, default)
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {one_line(repr(value)[:60], 40)}, expected true or false")
    return value


def _prompt(arguments: Arguments) -> str | list[int]:
    if "prompt" in arguments:
        return _text(arguments, "prompt")
    ids = arguments.get("prompt_ids")
    if not isinstance(ids, list) or not all(type(each) is int for each in ids):
        raise UsageError("there is neither a prompt nor a list of prompt_ids")
    return ids


def _sampling(arguments: Arguments) -> SamplingParameters:
    given = arguments.get("sampling", {})
    defaults = {each.name: each.default for each in fields(SamplingParameters)}
    if not isinstance(given, dict) or not set(given) <= set(defaults):
        raise UsageError(f"sampling is an object of {', '.join(defaults)}")
    for name, value in given.items():
        if isinstance(defaults[name], bool) != isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{name} is {one_line(repr(value)[:60], 40)}, expected {type(defaults[name]).__name__}")
        if isinstance(defaults[name], int) and not isinstance(value, int):
            raise UsageError(f"{name} is {value}, expected a whole number")
    return SamplingParameters(**given)


def _stops(arguments: Arguments) -> list[str]:
    stop = arguments.get("stop", [])
    if not isinstance(stop, list) or not all(isinstance(each, str) for each in stop):
        raise UsageError("stop is a list of texts")
    return stop


def _start(session: DebugSession, arguments: Arguments) -> tuple[Record, ...]:
    count = _integer(arguments, "max_new_tokens", 0)
    if count < 0:
        raise UsageError(f"max_new_tokens is {count}, allowed is 1 or more")
    return (session.start(_prompt(arguments), count, _sampling(arguments), _stops(arguments)),)


def _run(session: DebugSession, arguments: Arguments) -> Iterator[Record]:
    stopped = session.run(breakpoints=_truth(arguments, "breakpoints", True))
    yield from _with_end(session, stopped)


def _step(session: DebugSession, arguments: Arguments) -> Iterator[Record]:
    stopped = session.step(_text(arguments, "granularity", "instruction"), _integer(arguments, "count", 1))
    yield from _with_end(session, stopped)


def _with_end(session: DebugSession, stopped: Record) -> Iterator[Record]:
    if (finished := session.finished()) is not None:
        yield finished
    yield stopped


def _hbm(session: DebugSession, arguments: Arguments) -> tuple[Record, ...]:
    numbers = {name: _integer(arguments, name, 0) for name in ("head", "row", "col")}
    sizes = {name: _integer(arguments, name, 8) for name in ("rows", "cols")}
    return (session.hbm(_text(arguments, "region"), **numbers, **sizes),)


Action = Callable[[DebugSession, Arguments], "tuple[Record, ...] | Iterator[Record]"]

_MACHINE: Mapping[str, Action] = {
    "start": _start,
    "step": _step,
    "run": _run,
    "break": lambda session, given: (session.add_breakpoint(_text(given, "kind"), _text(given, "value")),),
    "delete": lambda session, given: (session.remove_breakpoint(_integer(given, "number", 0)),),
    "breakpoints": lambda session, _given: (session.breakpoints(),),
    "tokens": lambda session, _given: (session.tokens(),),
    "device": lambda session, given: (session.look_from(_integer(given, "device", 0)),),
    "lmu": lambda session, given: (session.lmu(_integer(given, "begin", 0), _integer(given, "count", 64)),),
    "hbm": _hbm,
}
"""What needs the machine to stand still."""

_CLOCK: Mapping[str, Action] = {
    "counters": lambda session, given: (session.counters(_integer(given, "position", -1)),),
    "timeline": lambda session, given: (
        session.timeline(_integer(given, "position", 0), prompt=_truth(given, "prompt", False)),
    ),
    "trace": lambda session, given: (session.save_trace(_text(given, "path"), _integer(given, "position", 0)),),
}
"""What depends on the program alone."""


def serve(
    open_session: Callable[[Callable[[Token], None], Callable[[Progress], None]], DebugSession],
) -> None:
    """Serve stdin and stdout; whatever else writes to stdout goes to stderr."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    DebugServer(open_session, sys.stdin.buffer, sink).serve()
