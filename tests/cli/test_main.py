"""Laws of the command line as a whole: one line per failure, the right exit code."""

from __future__ import annotations

import errno
import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest

from compiler.cli.main import COMMANDS, as_error, main
from compiler.errors import CapacityError, HyperDexError


def test_every_command_of_the_table_can_be_imported() -> None:
    for name in COMMANDS:
        command = importlib.import_module(f"compiler.cli.{name}").command
        assert isinstance(command, click.Command)
        assert command.name == name


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [["nope"], ["compile"], ["compile", "a", "b"], ["models", "--nope"], ["compile", "a", "--num-device", "x"]],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("hyperdex: error: ")
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("model_id", ["../etc", "/etc/passwd", "a/b/c", "", ".hidden", "a/\x1b[31m", "a/.."])
def test_a_model_id_that_leaves_the_prefix_is_refused(
    model_id: str, prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", model_id, "--prefix", str(prefix)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "\x1b" not in told
    assert list(prefix.iterdir()) == []


def test_a_model_without_a_build_is_an_artifact_error(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("map", "disasm", "verify"):
        assert main([command, "tiny/absent", "--prefix", str(prefix)]) == 6
        assert "hyperdex compile" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (CapacityError("full"), 5),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.UsageError("no"), 2),
        (MemoryError(), 5),
        (OSError(errno.ENOSPC, "No space left on device"), 5),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 5),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2),
        (ZeroDivisionError("division by zero"), 70),
        (RecursionError("deep\n\x1b[2J"), 70),
        (SystemExit(3), 70),
    ],
    ids=repr,
)
def test_every_failure_has_an_exit_code_and_one_printable_line(failure: BaseException, code: int) -> None:
    error = as_error(failure)
    assert isinstance(error, HyperDexError)
    assert error.exit_code == code
    assert str(error).isprintable()


def test_a_closed_pipe_is_no_failure() -> None:
    line = f"{sys.executable} -m compiler --help | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "U0\n"
    assert done.stderr == ""


def test_terminate_ends_with_130_and_one_line() -> None:
    program = (
        "import os, signal, sys\n"
        "from compiler.cli import main as entry\n"
        "entry.group.main = lambda **_: os.kill(os.getpid(), signal.SIGTERM) or signal.pause()\n"
        "sys.exit(entry.main([]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "hyperdex: error: interrupted by SIGTERM\n"
