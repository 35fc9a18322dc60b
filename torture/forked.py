"""Commands run in children of a `torture.server`, with faults, and how they ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from torture.interposer import Fault

ROOT = Path(__file__).parent.parent
NO_FAULT = Fault(0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: exit code, or minus the number of the signal that killed it.
        stdout, stderr: what it said.
        timed_out: it was killed because it took too long.
        operations: how many operations on files it did, -1 when it was killed.
        seconds, cpu_seconds, peak_bytes: what it cost, by the wall clock, of a processor and of memory.
        found: accesses outside of the watched folder, and attempts to run something.
    """

    code: int
    stdout: str
    stderr: str
    timed_out: bool
    operations: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    found: tuple[str, ...] = ()


class Commands:
    """The client of one server."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server = server
        self.folder = folder

    def run(
        self,
        arguments: Sequence[str],
        *,
        root: Path | None = None,
        fault: Fault = NO_FAULT,
        record: bool = False,
        kill_after_s: float | None = None,
        timeout_s: float = 60.0,
        environment: Mapping[str, str] | None = None,
        inside: Path | None = None,
        user: tuple[int, int] | None = None,
        rehearsal: Sequence[str] = (),
    ) -> Outcome:
        """Run `hyperdex ARGUMENTS`.

        Args:
            arguments: of the command.
            root: count the operations below this folder, and let `fault` happen there.
            fault: what happens.
            record: write every operation to `operations` in `folder`; see `torture.recorded`.
            kill_after_s: SIGKILL it after this time.
            timeout_s: give up after this time.
            environment: added to the server's.
            inside: watch what it opens outside of this folder; see `torture.watch`.
            user: user and group to be, with a umask that lets the group write; None: who runs the torture.
            rehearsal: command to run before becoming the user.
        """
        for name in ("stdout", "stderr", "count", "operations", "found"):
            (self.folder / name).unlink(missing_ok=True)
        request: dict[str, object] = {
            "arguments": list(arguments),
            "folder": str(self.folder),
            "timeout_s": timeout_s,
            "kill_after_s": kill_after_s,
            "environment": dict(environment or {}),
        }
        if inside is not None:
            request["inside"] = str(inside)
        if user is not None:
            request |= {"user": user, "rehearsal": list(rehearsal)}
        if root is not None:
            request |= {"root": str(root), "fault": asdict(fault), "record": record}
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        if not answer:
            raise RuntimeError("the server of the children ended")
        reply = json.loads(answer)
        return Outcome(
            code=reply["code"],
            stdout=self._said("stdout"),
            stderr=self._said("stderr"),
            timed_out=reply["timed_out"],
            operations=int(self._said("count") or -1),
            seconds=reply["seconds"],
            cpu_seconds=reply["cpu_seconds"],
            peak_bytes=reply["peak_bytes"],
            found=tuple(json.loads(self._said("found") or "[]")),
        )

    def _said(self, name: str) -> str:
        path = self.folder / name
        return path.read_bytes().decode("utf-8", "backslashreplace") if path.exists() else ""


@contextmanager
def commands() -> Iterator[Commands]:
    """Start a server for the block; its commands know no token and no hub but the one they are told."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HYPERDEX_"))}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with TemporaryDirectory(prefix="torture-") as folder:
        environment["HF_HOME"] = str(Path(folder) / "no-token")
        server = subprocess.Popen(
            [sys.executable, "-m", "torture.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        try:
            yield Commands(server, Path(folder))
        finally:
            assert server.stdin is not None and server.stdout is not None
            server.stdin.close()
            server.wait()
            server.stdout.close()
