"""Laws of `--json`: stdout is JSON, also when the command fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["map", "tiny/absent"], 6),
        (["disasm", "tiny/absent"], 6),
        (["verify", "tiny/absent"], 6),
        (["diff", "tiny/absent", "u55c-1x"], 6),
        (["diff", "tiny/absent", "nonsense"], 2),
        (["delete", "tiny/absent", "--all"], 6),
        (["estimate", "tiny/absent"], 9),
        (["estimate", "tiny/absent", "--dtype", "int8"], 2),
        (["generate", "tiny/absent"], 2),
        (["generate", "tiny/absent", "x"], 6),
        (["search", "x"], 9),
        (["search"], 2),
    ],
    ids=str,
)
def test_a_failure_is_an_object_that_repeats_the_line_on_stderr(
    arguments: list[str], code: int, prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [] if arguments[0] == "search" else ["--prefix", str(prefix)]
    assert main([*arguments, *where, "--json"]) == code
    told = capsys.readouterr()
    (failure,) = [json.loads(line) for line in told.out.splitlines()]
    assert failure["error"]["exit_code"] == code
    assert told.err == f"hyperdex: error: {failure['error']['message']}\n"


def test_a_failure_without_json_leaves_stdout_empty(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "tiny/absent", "--prefix", str(prefix)]) == 6
    assert capsys.readouterr().out == ""


def test_an_answer_that_reports_a_problem_is_the_only_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["doctor", "--prefix", str(tmp_path / "file"), "--json"]) == 2
    assert "findings" in json.loads(capsys.readouterr().out)


def test_a_reader_that_goes_away_is_no_failure_where_the_answer_is_one(prefix: Path) -> None:
    line = f"{sys.executable} -m compiler map tiny/absent --prefix {prefix} --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 6) and "Traceback" not in done.stderr
