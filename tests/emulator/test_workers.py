"""Threads that share work: everything is done when `run` returns, also when a signal's handler raises."""

from __future__ import annotations

import threading
import time

import pytest

from compiler.emulator.workers import Workers


class Interruption(Exception):
    """What a signal's handler raises."""


def test_all_jobs_are_done_when_run_returns() -> None:
    workers, done = Workers(), [0] * 4

    def job(index: int) -> None:
        done[index] += 1

    for _ in range(50):
        workers.run([lambda index=index: job(index) for index in range(4)])
    assert done == [50] * 4


def test_an_interruption_waits_for_what_still_writes_and_leaves_nothing_for_the_next_run() -> None:
    workers, written = Workers(), []

    def interrupted() -> None:
        raise Interruption

    def slow(value: int) -> None:
        time.sleep(0.05)
        written.append(value)

    for value in range(3):
        with pytest.raises(Interruption):
            workers.run([interrupted, lambda value=value: slow(value)])
        assert written[-1] == value
        workers.run([lambda: None, lambda value=value: slow(10 + value)])
        assert written[-1] == 10 + value


def test_what_a_job_raises_on_its_thread_is_raised_by_run_and_the_next_run_works() -> None:
    workers, done = Workers(), []

    def failing() -> None:
        raise Interruption

    for value in range(3):
        with pytest.raises(Interruption):
            workers.run([lambda: None, failing, lambda: None])
        workers.run([lambda: None, lambda: None, lambda value=value: done.append(value)])
    assert done == [0, 1, 2]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_who_waits_for_a_job_that_raises_is_told(place: int) -> None:
    workers, told = Workers(), threading.Event()

    def failing() -> None:
        raise Interruption

    jobs = [lambda: told.wait(10)] * 3
    jobs[place] = failing
    with pytest.raises(Interruption):
        workers.run(jobs, abandon=told.set)
    assert told.is_set()
