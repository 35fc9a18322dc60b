"""A server that forks: one process per command, with everything imported already.

Requests and replies are JSON objects, one per line, on stdin and stdout. A command runs as
`compiler.cli.main.main(arguments)` in a child that really dies when it is killed. Forking a
process that has imported the compiler takes 10 ms, starting one 0.3 s, and there are thousands.
Talk to it through `torture.forked`.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

PRELOADED = (
    "click._termui_impl",
    "compiler.cli.compile",
    "compiler.cli.generate",
    "compiler.cli.models",
    "compiler.cli.narration",
    "compiler.cli.verify",
    "compiler.artifacts.channels",
    "compiler.artifacts.reuse",
    "compiler.artifacts.writer",
    "compiler.checkpoint.convert",
    "compiler.checkpoint.reader",
    "compiler.emulator.session",
    "compiler.hub",
    "compiler.mapping.fill",
    "compiler.mapping.sources",
    "compiler.mapping.verify",
    "compiler.pipeline",
    "compiler.program.verify",
    "filelock",
    "huggingface_hub.hf_api",
)


def serve() -> None:
    """Answer requests until stdin ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        reply = _run(json.loads(line))
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


def _run(request: dict[str, Any]) -> dict[str, Any]:
    """Fork, wait, tell how it ended: exit code, or minus the signal, or "timeout"."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _become_command(request)
    descriptor = os.pidfd_open(child)
    kill_after_s = request.get("kill_after_s")
    limit = request["timeout_s"] if kill_after_s is None else kill_after_s
    ended, _, _ = select.select([descriptor], [], [], limit)
    os.close(descriptor)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "timed_out": not ended and kill_after_s is None,
        "seconds": time.monotonic() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def _become_command(request: dict[str, Any]) -> None:
    """What the child does; it never returns."""
    code = 70
    try:
        folder = Path(request["folder"])
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(request.get("environment", {}))
        sys.argv = ["hyperdex", *request["arguments"]]
        sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w")))  # noqa: PTH123, SIM115
        if "user" in request:
            from compiler.cli.main import main as rehearse

            rehearse(request["rehearsal"])  # whom we become may not read the libraries: they must be loaded
            _become_user(*request["user"])
        interposer = _interposer(request, folder)
        watch = _watch(request)
        from compiler.cli.main import main

        code = main(request["arguments"])
        if watch is not None:
            watch.report(folder / "found")
        if interposer is not None:
            (folder / "count").write_text(str(interposer.count))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def _become_user(user: int, group: int) -> None:
    os.setgroups([group])
    os.setgid(group)
    os.setuid(user)
    os.umask(0o002)


def _watch(request: dict[str, Any]) -> Any:
    if "inside" not in request:
        return None
    from torture.watch import Watch

    watch = Watch(Path(request["inside"]))
    watch.install()
    return watch


def _interposer(request: dict[str, Any], folder: Path) -> Any:
    if "root" not in request:
        return None
    from torture.interposer import Fault, Interposer
    from torture.recorded import Recorder

    given = request["fault"]
    recorder = Recorder(folder / "operations") if request.get("record") else None
    fault = Fault(given["at"], given["action"], given["lasting"], tuple(given["kinds"]))
    interposer = Interposer(request["root"], fault, recorder)
    interposer.install()
    return interposer


if __name__ == "__main__":
    serve()
