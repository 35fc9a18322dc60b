"""The app ends with its terminal, also where no signal says that it is gone.

SIGHUP goes to the leader of the session: `make run` takes it, waits for its
child, and the child would read the end of a dead terminal forever. So a thread
waits for the hang-up itself, which costs nothing.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

GRACE_S = 2.0
"""What an orderly end may take once there is no terminal to restore."""

EXIT_CODE = 129


def on_hangup(leave: Callable[[], object]) -> None:
    """Call `leave`, in another thread, when the terminal of stdin goes away; the process ends `GRACE_S` later at most.

    Does nothing when stdin is no terminal.
    """
    fileno = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
    if fileno < 0 or not os.isatty(fileno) or not hasattr(select, "poll"):
        return
    threading.Thread(target=_wait, args=(fileno, leave), name="hangup", daemon=True).start()


def _wait(fileno: int, leave: Callable[[], object]) -> None:
    poll = select.poll()
    poll.register(fileno, 0)  # a hang-up is always reported
    while not any(events & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, events in poll.poll()):
        pass
    with suppress(RuntimeError):  # the loop is closed: the app has just ended
        leave()
    time.sleep(GRACE_S)
    os._exit(EXIT_CODE)  # what is left writes to the dead terminal and may wait for it forever
