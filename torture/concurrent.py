"""Eight compiles at once in one prefix, and two users who share one through a group.

The compiles of one model take turns: who finds it locked is told by whom and tries again. Whatever
the order, the result is that of one compile after the other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from torture.forked import ROOT, Commands, Outcome
from torture.report import Effort, Row, timed
from torture.subject import MODEL_ID, Subject, copy_subject, manners, write_checkpoint

PROCESSES = 8
ROUNDS = 6
BUSY = 10
_SMALL_SHARE = 0.2
PATIENCE_S = 120
USERS = (65534, 65533)
GROUP = 65532
PROMISE = "the same bytes as one after the other; who has to wait is told by whom"


def at_once(commands: Commands, place: Path, effort: Effort) -> list[Row]:
    """Compile for 1 to 8 devices at once, and the same build eight times at once."""
    before = Subject(commands, place / "before")
    write_checkpoint(before.ckpt, seed=6)
    serial = copy_subject(before, place / "serial")
    processes = PROCESSES if effort.share > _SMALL_SHARE else PROCESSES // 2
    for devices in range(1, processes + 1):
        if (outcome := serial.compile("--num-device", str(devices))).code:
            raise RuntimeError(f"a compile without faults failed: {outcome.stderr}")

    def attack(row: Row) -> None:
        for index in range(effort.of(ROUNDS)):
            shared = copy_subject(before, place / "shared")
            same = index % 2 == 1
            wrong = _compile_all(shared, [1] * processes if same else list(range(1, processes + 1)))
            expected = _files(serial.folder)
            if same:
                expected = {name: content for name, content in expected.items() if "-1x/" in name or "/" not in name}
            if not wrong and _files(shared.folder) != expected:
                wrong = "the result is not that of one after the other"
            row.count("same build" if same else "builds for 1 to 8 devices", f"{row.name}: {wrong}" if wrong else "")

    rows = [timed(Row(f"{processes} compiles at once", PROMISE), attack)]
    if os.geteuid() == 0:
        rows.append(timed(Row("two users in one group", PROMISE), lambda row: _two_users(row, serial)))
    return rows


def _compile_all(shared: Subject, devices: list[int]) -> str:
    """Start them together and start again those that found the model locked; what went wrong, or ""."""
    waiting = {index: _start(shared, count) for index, count in enumerate(devices)}
    end = time.monotonic() + PATIENCE_S
    while waiting and time.monotonic() < end:
        for index, process in list(waiting.items()):
            _, stderr = process.communicate()
            del waiting[index]
            if process.returncode == BUSY and "is in use by" in stderr and "wait for it" in stderr:
                time.sleep(0.2)
                waiting[index] = _start(shared, devices[index])
            elif process.returncode:
                return f"exit {process.returncode}: {stderr[-300:]!r}"
    return "they took too long" if waiting else ""


def _start(shared: Subject, devices: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "compiler", "compile", MODEL_ID, "--prefix", str(shared.prefix), "--offline"]
    return subprocess.Popen(
        [*command, "--num-device", str(devices)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def _files(folder: Path) -> dict[str, bytes]:
    """Every file of the builds and of the converted checkpoint."""
    names = [path for kind in ("param", "inst") for path in (folder / kind).rglob("*") if path.is_file()]
    converted = [folder / "ckpt" / name for name in ("hyperdex_model.bin", "hyperdex_config.json")]
    return {
        str(path.relative_to(folder)) if path in names else path.name: path.read_bytes() for path in names + converted
    }


def _two_users(row: Row, other: Subject) -> None:
    """One user compiles, another compiles for more devices, repairs and replaces what the first one made."""
    with TemporaryDirectory(prefix="torture-") as folder:  # the place of the others may be closed to strangers
        Path(folder).chmod(0o755)
        _take_turns(row, other, Subject(other.commands, Path(folder) / "group"))


def _take_turns(row: Row, other: Subject, subject: Subject) -> None:
    write_checkpoint(subject.ckpt, seed=6)
    for path in (subject.prefix, *subject.prefix.rglob("*")):
        os.chown(path, USERS[0], GROUP)
        path.chmod(0o2775 if path.is_dir() else 0o664)

    def compile_as(user: int, *options: str) -> Outcome:
        rehearsal = ["compile", MODEL_ID, "--prefix", str(other.prefix), "--offline", "--force"]
        return subject.compile(*options, user=(user, GROUP), rehearsal=rehearsal)

    steps = [
        ("the first user compiles", lambda: compile_as(USERS[0])),
        ("the second adds a build", lambda: compile_as(USERS[1], "--num-device", "2")),
        ("the second replaces the first one's", lambda: compile_as(USERS[1], "--force")),
        ("the first replaces the second one's", lambda: compile_as(USERS[0], "--num-device", "2", "--force")),
    ]
    for name, step in steps:
        outcome = step()
        wrong = manners(outcome) or ("" if outcome.code == 0 else f"exit {outcome.code}: {outcome.stderr[-200:]!r}")
        closed = [path for path in subject.folder.rglob("*") if not path.stat().st_mode & 0o060]
        if not wrong and closed:
            wrong = f"{closed[0].name} is closed to the group"
        row.count("done", f"{row.name}, {name}: {wrong}" if wrong else "")
