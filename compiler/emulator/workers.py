"""Threads that share native work: jobs that release the interpreter lock, one to a thread."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

Job = Callable[[], object]


class Workers:
    """Threads beside the caller's, started when first needed; they end with the process."""

    def __init__(self) -> None:
        self._workers: list[_Worker] = []

    def run(self, jobs: Sequence[Job], abandon: Callable[[], None] = lambda: None) -> None:
        """Run all jobs at the same time, the first one on this thread; what one of them raises is raised here.

        Args:
            jobs: what to do, one to a thread.
            abandon: called as soon as one of them raises, for those that wait for it.
        """
        if len(jobs) == 1:
            jobs[0]()
            return
        while len(self._workers) < len(jobs) - 1:
            self._workers.append(_Worker())
        busy = self._workers[: len(jobs) - 1]
        started: list[_Worker] = []
        try:
            for worker, job in zip(busy, jobs[1:], strict=True):
                worker.start(job, abandon)
                started.append(worker)
            jobs[0]()
            for worker in busy:
                worker.finish()
        except BaseException:  # a signal's handler raised
            self._workers = []  # those may still be at work: the next jobs go to others
            abandon()
            for worker in started:
                worker.join()
            raise


class _Worker:
    """A thread that does one job at a time."""

    def __init__(self) -> None:
        self._ready, self._done = threading.Lock(), threading.Lock()
        self._ready.acquire()
        self._done.acquire()
        self._job: Job | None = None
        self._abandon: Callable[[], None] | None = None
        self._error: BaseException | None = None
        self._is_busy = False
        threading.Thread(target=self._serve, daemon=True, name="hyperdex-kernel").start()

    def start(self, job: Job, abandon: Callable[[], None]) -> None:
        """Begin; `finish` must follow."""
        self._job, self._abandon = job, abandon
        self._is_busy = True
        self._ready.release()

    def finish(self) -> None:
        """Wait for the job; what it raised is raised here."""
        self._done.acquire()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def join(self) -> None:
        """Wait for the job where `finish` may have been cut short: what it writes to must still be there."""
        while self._is_busy:
            time.sleep(0.001)

    def _serve(self) -> None:
        while True:
            self._ready.acquire()
            if self._job is not None and self._abandon is not None:
                try:
                    self._job()
                except BaseException as error:  # a thread that ended would be waited for without end
                    self._error = error
                    self._abandon()
            self._is_busy = False
            self._done.release()


def thread_count() -> int:
    """OMP_NUM_THREADS as for other numerical programs (torchrun sets it), else the processors we may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isascii() and wanted.isdigit() and 0 < int(wanted) <= 1024:
        return int(wanted)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
