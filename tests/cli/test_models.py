"""Laws of the list of models and of what cannot be read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def guarded(prefix: Path) -> Iterator[Path]:
    """A prefix with two checkpoints."""
    for name in ("open", "closed"):
        (prefix / "org" / name / "ckpt").mkdir(parents=True)
        (prefix / "org" / name / "ckpt" / "config.json").write_text("{}")
        (prefix / "org" / name / "param" / "u55c-1x").mkdir(parents=True)
    yield prefix
    for path in (prefix / "org" / "closed", prefix / "org" / "closed" / "param"):
        path.chmod(0o755)


_UNPRIVILEGED = """
import ctypes, os, sys
if os.geteuid() == 0:  # whom no permission stops: give up the capabilities, among them that one
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None).capset(header, none) != 0:
        sys.exit("capset")
from compiler.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as somebody whom permissions stop."""
    command = [sys.executable, "-c", _UNPRIVILEGED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "capset" in done.stderr:
        pytest.skip("this superuser cannot give up its privileges")
    return done


@pytest.mark.parametrize("closed", ["org/closed", "org/closed/param"])
def test_a_model_that_cannot_be_read_is_listed_as_such_beside_the_others(guarded: Path, closed: str) -> None:
    (guarded / closed).chmod(0)
    done = _run("models", "--prefix", str(guarded))
    assert done.returncode == 0, done.stderr
    assert "org/open" in done.stdout and "org/closed" in done.stdout
    if closed == "org/closed":
        assert "cannot be read: Permission denied" in done.stdout


@pytest.mark.parametrize("command", ["verify", "map", "disasm"])
def test_a_build_that_cannot_be_read_is_not_called_missing(guarded: Path, command: str) -> None:
    (guarded / "org" / "closed").chmod(0)
    done = _run(command, "org/closed", "--prefix", str(guarded))
    assert done.returncode == 6
    assert done.stderr == f"hyperdex: error: {guarded}/org/closed cannot be read: Permission denied; make it readable\n"
