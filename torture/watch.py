"""What a command opens and starts, seen by the interpreter's own audit events.

Everything outside the model's folder that is not Python's, ours or the system's is written down,
and so is every attempt to run something. It cannot be switched off by the program under test.
"""

from __future__ import annotations

import json
import os
import site
import sys
from pathlib import Path
from typing import Any

from torture.forked import ROOT

RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pickle.find_class", "socket.connect")
SYSTEM = ("/proc/", "/sys/", "/dev/null", "/usr/", "/lib", "/etc/")


class Watch:
    """Collects accesses; `report` writes them down.

    Args:
        inside: the folder in which anything may be read and written.
    """

    def __init__(self, inside: Path) -> None:
        real = os.path.realpath
        python = [sys.prefix, sys.base_prefix, *site.getsitepackages(), str(ROOT)]
        self._allowed = tuple(os.path.join(real(each), "") for each in python) + SYSTEM  # noqa: PTH118
        self._inside = os.path.join(real(inside), "")  # noqa: PTH118
        self._parents = {str(each) for each in (Path(real(inside)), *Path(real(inside)).parents)}
        self.found: list[str] = []

    def install(self) -> None:
        """Watch this process for the rest of its life."""
        sys.addaudithook(self._audit)

    def report(self, path: Path) -> None:
        """Write what was found as a JSON list."""
        path.write_text(json.dumps(self.found))

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in RUNS:
            self.found.append(f"{event} {arguments[:1]!r}")
        elif event == "open" and not isinstance(arguments[0], int):
            parent, name = os.path.split(os.path.abspath(os.fsdecode(arguments[0])))  # noqa: PTH100
            path = os.path.join(os.path.realpath(parent), name)  # noqa: PTH118
            if not (arguments[2] or 0) & os.O_NOFOLLOW:
                path = os.path.realpath(path)
            inside = path.startswith(self._inside) or path in self._parents or path == os.devnull
            reads_ours = path.startswith(self._allowed) and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
            if not inside and not reads_ours:
                self.found.append(f"open {path}")
