"""Laws of `hyperdex generate` with many prompts, and of what it says of time."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compiler.cli.main import main

MODEL_ID = "tiny/llama-gqa"
BUILD = "u55c-1x-float32"
PROMPTS = ("to be", "or not", "to be that")


def _where(prefix: Path) -> list[str]:
    return ["generate", MODEL_ID, "--prefix", str(prefix), "--build", BUILD, "--max-new-tokens", "6"]


def _objects(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main([*arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of prompts with an empty line."""
    path = tmp_path / "prompts.txt"
    path.write_text("\n\n".join(PROMPTS) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "sampling", [[], ["--do-sample", "--temperature", "3", "--seed", "5"]], ids=["greedy", "drawn"]
)
def test_each_prompt_of_a_file_is_continued_as_if_it_were_alone(
    sampling: list[str], file: Path, compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [*_where(compiled), *sampling, "--json"]
    together = _objects(capsys, *where, "--prompts", str(file))
    alone = [_objects(capsys, *where, prompt)[0] for prompt in PROMPTS]
    assert together == [{**each, "index": index} for index, each in enumerate(alone)]
    assert [each["prompt"] for each in together] == [*PROMPTS]


def test_text_of_many_prompts_is_on_stdout_and_their_names_on_stderr(
    file: Path, compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [each["text"] for each in _objects(capsys, *_where(compiled), "--json", "--prompts", str(file))]
    assert main([*_where(compiled), "--prompts", str(file)]) == 0
    told = capsys.readouterr()
    assert told.out == "".join(f"{text}\n" for text in texts)
    assert told.err == "".join(f"[Info] Prompt {at} of 3: {text}\n" for at, text in enumerate(PROMPTS, 1))


def test_tokens_of_a_stream_name_their_prompt(file: Path, compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _objects(capsys, *_where(compiled), "--stream-json", "--prompts", str(file))
    for end in (line for line in lines if line.get("done")):
        tokens = [line["token_id"] for line in lines if line["index"] == end["index"] and "done" not in line]
        assert tokens == end["token_ids"]
    assert [line["index"] for line in lines] == sorted(line["index"] for line in lines)


def test_a_dash_is_stdin(compiled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def given(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    expected = _objects(capsys, *_where(compiled), "--json", PROMPTS[0])
    given(f"{PROMPTS[0]}\n".encode())
    assert _objects(capsys, *_where(compiled), "--json", "-") == expected
    given(f"{PROMPTS[0]}\n".encode())
    assert _objects(capsys, *_where(compiled), "--json", "--prompts", "-") == expected
    given(b"ab\xff")
    assert main([*_where(compiled), "-"]) == 2
    assert "stdin is not UTF-8 (byte 2)" in capsys.readouterr().err


def test_a_prompt_that_does_not_fit_is_refused_before_the_first_one_runs(
    tmp_path: Path, compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "long").write_text("to be\n" + "to be " * 500)
    assert main([*_where(compiled), "--prompts", str(tmp_path / "long")]) == 2
    told = capsys.readouterr()
    assert told.out == "" and "prompt 2 of 2: " in told.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--prompts", "EMPTY"], "holds no prompt"),
        (["--prompts", "ABSENT"], "cannot be read: No such file"),
        (["--prompts", "EMPTY", "x"], "exclude each other"),
        (["--prompts", "EMPTY", "--logits", "x.npy"], "are of one prompt"),
        (["x", "--stop", ""], "--stop is empty"),
        (["x", "--stop", "a", "--stop", ""], "--stop is empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_a_usage_error(
    options: list[str], said: str, compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "EMPTY").write_text("\n  \n")
    paths = {name: str(tmp_path / name) for name in ("EMPTY", "ABSENT", "x.npy")}
    assert main([*_where(compiled), *(paths.get(word, word) for word in options)]) == 2
    told = capsys.readouterr()
    assert said in told.err and told.err.count("\n") == 1 and told.out == ""


def test_time_is_told_where_it_is_asked_for(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (timed,) = _objects(capsys, *_where(compiled), "--prompt-ids", "5,6", "--timing", "--json")
    assert 0 < timed["measured"]["first_token_s"] <= timed["measured"]["seconds"]
    assert timed["timing"]["kind"] == "emulated"
    assert main([*_where(compiled), "--prompt-ids", "5,6", "--timing"]) == 0
    assert capsys.readouterr().err.startswith("[Info] 2 prompt tokens, ")
    (plain,) = _objects(capsys, *_where(compiled), "--prompt-ids", "5,6", "--json")
    assert plain == {name: value for name, value in timed.items() if name not in ("timing", "measured")}


def test_a_failure_amid_the_text_ends_its_line(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*_where(compiled), "to be", "--logits", "/dev/full"]) == 5
    told = capsys.readouterr()
    assert told.out.endswith("\n") and told.out.count("\n") == 1
    assert told.err.startswith("hyperdex: error: /dev/full could not be written")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_several_processes_take_no_prompt_from_stdin_and_one_of_them_answers(
    rank: str, compiled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for source in (["-"], ["--prompts", "-"]):
        assert main([*_where(compiled), *source]) == 2
        assert "under torchrun stdin reaches no process but one" in capsys.readouterr().err
    assert main([*_where(compiled), "--prompt-ids", "x", "--json"]) == 2
    assert bool(capsys.readouterr().out) == (rank == "0")


def test_a_person_who_watches_is_told_the_pace(compiled: Path) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "compiler", *_where(compiled), "--prompt-ids", "5,6"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=follower, check=True)
    os.close(follower)
    told = os.read(leader, 10_000).decode()
    os.close(leader)
    assert told.startswith("[Info] 2 prompt tokens, ") and "tokens/s" in told and b"Info" not in done.stdout
