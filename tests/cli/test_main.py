"""Laws of the command line as a whole: one line per failure, the right exit code."""

from __future__ import annotations

import errno
import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest

from compiler.cli.failure import as_error
from compiler.cli.main import COMMANDS, main
from compiler.demo import demo_folder
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
        for build in ([], ["--build", "u55c-2x"]):
            assert main([command, "tiny/absent", "--prefix", str(prefix), *build]) == 6
            told = capsys.readouterr().err
            first = "run hyperdex compile tiny/absent first"
            assert told == f"hyperdex: error: tiny/absent is not compiled in {prefix}; {first}\n"


def test_a_file_where_a_folder_belongs_is_called_so(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (prefix / "tiny").mkdir()
    (prefix / "tiny" / "param").touch()
    assert main(["map", "tiny", "--prefix", str(prefix)]) == 6
    assert f"{prefix}/tiny/param is not a folder" in capsys.readouterr().err


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


@pytest.mark.parametrize("arguments", ["--help", "models --supported", "compile --help", "estimate CONFIG"])
@pytest.mark.parametrize("reader", ["head -c 1 >/dev/null", "true"])
def test_a_reader_that_goes_away_is_no_failure(arguments: str, reader: str) -> None:
    given = arguments.replace("CONFIG", f"{demo_folder()}/config.json --output-tokens 20")
    line = f"{sys.executable} -m compiler {given} | {reader}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "closed", "code"),
    [
        ("--help", ">&-", 0),
        ("models --supported", ">&-", 0),
        ("models --supported", ">&- 2>&-", 0),
        ("nope", "2>&-", 2),
        ("run", "<&-", 2),
        ("asm -", "<&- >/dev/null", 0),
    ],
)
def test_a_closed_stream_is_dev_null(arguments: str, closed: str, code: int) -> None:
    line = f"{sys.executable} -m compiler {arguments} {closed}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "AttributeError" not in done.stderr


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr()
    assert main([]) == 0
    assert capsys.readouterr() == shown


def test_a_full_disk_is_one_line_that_does_not_blame_the_prefix() -> None:
    line = f"{sys.executable} -m compiler models --supported >/dev/full"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr == "hyperdex: error: the disk is full; free some space\n"


def test_an_empty_prefix_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--prefix", ""]) == 2
    assert capsys.readouterr().err.startswith("hyperdex: error: --prefix is empty; ")


def test_a_prefix_that_is_no_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for prefix in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["models", "--prefix", str(prefix)]) == 2
        assert capsys.readouterr().err.startswith(f"hyperdex: error: prefix {prefix}: {tmp_path}/file is not a folder")


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


@pytest.mark.parametrize("command", [["compile", "a/b"], ["run"]], ids=" ".join)
@pytest.mark.parametrize("target", ["lpu-1", "own.toml", "\x1b[31m"])
def test_a_wrong_target_is_refused_before_any_work(
    command: list[str], target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--target", target]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "is not one of u55c, lpu-819, lpu-1640, lpu-3280" in told.err
    assert ("hyperdex estimate" in told.err) == target.endswith(".toml")
    assert told.out == ""
    assert "\x1b" not in told.err


def test_ctrl_c_while_the_program_is_still_loading_is_one_line() -> None:
    program = (
        "import sys\n"
        "class Interrupter:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'compiler.cli.main':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupter())\n"
        "from compiler.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "hyperdex: error: interrupted\n")
