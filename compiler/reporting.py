"""Turns the steps of a compile into events: clock, phases, throttled progress."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from compiler.errors import HyperDexError
from compiler.events import Listener, Message, PhaseFailed, PhaseFinished, PhaseStarted, Progress
from compiler.source import SourceRef

_INTERVAL_S = 0.1
"""Least time between two progress events of a phase."""


class Reporter:
    """Sends events of one compile to a listener.

    Args:
        listener: receives every event.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._began = time.monotonic()
        self._phase = -1
        self._phase_began = self._began
        self._last = 0.0
        self._closed = False

    def seconds(self) -> float:
        """Seconds since the compile began."""
        return round(time.monotonic() - self._began, 3)

    @contextmanager
    def phase(self, number: int, detail: str = "") -> Iterator[None]:
        """Report start, and finish or failure, of a phase.

        Raises:
            Whatever the block raises, after it was reported.
        """
        self._phase, self._phase_began, self._last, self._closed = number, time.monotonic(), 0.0, False
        self._listener(PhaseStarted(number, self.seconds(), detail))
        try:
            yield
        except BaseException as error:
            code = error.exit_code if isinstance(error, HyperDexError) else _exit_code(error)
            self._listener(PhaseFailed(number, self.seconds(), str(error) or type(error).__name__, code))
            raise
        if not self._closed:
            self._listener(PhaseFinished(number, self.seconds()))

    def skip(self, reason: str) -> None:
        """The current phase has nothing to do."""
        self._closed = True
        self._listener(PhaseFinished(self._phase, self.seconds(), True, reason))

    def message(self, text: str, level: str = "info") -> None:
        """One line for the log."""
        self._listener(Message(self._phase, self.seconds(), text, level))

    def progress(self, done: int, total: int, unit: str, source: SourceRef) -> None:
        """Progress of the current phase; most calls are dropped, the last one never."""
        now = time.monotonic()
        if now - self._last < _INTERVAL_S and done < total:
            return
        self._last = now
        elapsed = now - self._phase_began
        rate = done / elapsed if elapsed > 0 else 0.0
        self._listener(Progress(self._phase, self.seconds(), done, total, unit, rate, source))


def _exit_code(error: BaseException) -> int:
    return 130 if isinstance(error, KeyboardInterrupt | SystemExit) else 70
