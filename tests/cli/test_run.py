"""Laws of the classic session's questions."""

from __future__ import annotations

import io

import pytest

from compiler.cli.main import main
from compiler.cli.run import ask
from compiler.errors import UsageError


def test_an_empty_answer_takes_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert ask("Number of LPU devices", int, default="1") == 1


def test_answers_are_stripped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("  facebook/opt-1.3b \n"))
    assert ask("Model ID", str) == "facebook/opt-1.3b"
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "[Option] Model ID: facebook/opt-1.3b\n"


def test_the_end_of_stdin_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(UsageError, match="Model ID"):
        ask("Model ID", str)


@pytest.mark.parametrize("answers", ["", "tiny/opt\n", "../etc\n1\n", "tiny/opt\nzero\n", "tiny/opt\n65\n", "\n\n"])
def test_missing_and_wrong_answers_end_the_session_with_one_line(
    answers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answers))
    assert main(["run", "--prefix", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith("hyperdex: error: ")
    assert "Traceback" not in told
