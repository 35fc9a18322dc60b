"""Laws of what the command line says: help, wrong usage, names that were nearly right."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest

from compiler.cli.main import COMMANDS, main


def _command(name: str) -> click.Command:
    command = import_module(f"compiler.cli.{name}").command
    assert isinstance(command, click.Command)
    return command


def _examples(name: str) -> list[str]:
    """The command lines below a help text, without the comment behind them."""
    _, _, text = (_command(name).epilog or "").partition("Examples:\n")
    return [line.strip().partition("   #")[0] for line in text.splitlines()]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_and_each_is_a_legal_command_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = _examples(name)
    assert lines
    for line in lines:
        own = re.search(rf"\bhyperdex {name}(?= |\)|$)([^|>)]*)", line)  # a pipe, a redirection or a bracket ends it
        assert own is not None, line
        with _command(name).make_context(name, shlex.split(own[1])):
            pass


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    for parameter in _command(name).params:
        if isinstance(parameter, click.Option):
            sentences = (parameter.help or "").partition("  [default: ")[0]
            assert sentences[:1].isupper(), parameter.name
            assert sentences.endswith("."), parameter.name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compil"], "there is no command 'compil'; did you mean compile"),
        (["xyzzy"], "there is no command 'xyzzy'; see hyperdex --help"),
        (
            ["--prefix", "x", "models"],
            "there is no option --prefix in front of a command; options follow the command; ",
        ),
        (
            ["compile", "a", "--num-devices", "2"],
            "hyperdex compile has no option --num-devices; did you mean --num-device",
        ),
        (["models", "--zzz"], "hyperdex models has no option --zzz; see hyperdex models --help"),
        (["compile"], "MODEL_ID is missing; see hyperdex compile --help"),
        (
            ["compile", "a", "--num-device", "x"],
            "--num-device: 'x' is not a whole number; see hyperdex compile --help",
        ),
        (
            ["generate", "a", "b", "--max-new-tokens", "x"],
            "--max-new-tokens: 'x' is not a whole number; see hyperdex generate --help",
        ),
        (["generate", "a", "b", "--top-p", "x"], "--top-p: 'x' is not a number; see hyperdex generate --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_names_what_was_meant(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"hyperdex: error: {said}")
    assert told.count("\n") == 1


def test_a_model_id_that_is_nearly_right_is_answered_with_the_one_that_is_there(
    prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (prefix / "facebook" / "opt-125m" / "ckpt").mkdir(parents=True)
    (prefix / "facebook" / "opt-125m" / "ckpt" / "config.json").write_text("{}")
    assert main(["map", "facebok/opt-125m", "--prefix", str(prefix)]) == 6
    assert "; did you mean facebook/opt-125m? otherwise run hyperdex compile " in capsys.readouterr().err
    assert main(["map", "OPT-125m", "--prefix", str(prefix)]) == 6  # without its organisation
    assert "; did you mean facebook/opt-125m? otherwise run hyperdex compile " in capsys.readouterr().err
    assert main(["map", "facebook/opt-125m", "--prefix", str(prefix)]) == 6
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--no-pass", "overlp"], "there is no pass 'overlp'"),
        (["--max-length", "1"], "max_length 1 is less than 2, a prompt and an answer"),
        (["--topology", "star"], "topology 'star' is not one of ring, 2-lines, 4-lines"),
        (["--topology", "2-lines", "--num-device", "64"], "64 devices cannot be wired as 2-lines"),
        (["--dtype", "int8"], "dtype 'int8' is not one of float16, bfloat16, float32"),
        (["--num-device", "65"], "number of devices 65 is not in 1..64"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_needs_no_config_is_judged_before_one_is_looked_for(
    options: list[str], said: str, prefix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = tmp_path / "job"
    assert main(["compile", "absent/model", "--prefix", str(prefix), "--job", str(job), *options]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"hyperdex: error: {said}") and told.err.count("\n") == 1
    assert told.out == "" and not job.exists() and list(prefix.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [["--dtype", "int8"], ["--num-device", "0"], ["--target", "own.toml"], ["--input-tokens", "0"]],
    ids=" ".join,
)
def test_an_estimate_judges_its_options_before_it_looks_for_the_model(
    options: list[str], prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", "absent/model", "--prefix", str(prefix), *options]) == 2
    assert "hub" not in capsys.readouterr().err


def test_every_command_line_of_the_documents_is_legal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(tmp_path)
    named: dict[str, set[str]] = {}
    for document in (root / "README.md", *(root / "docs").glob("*.md")):
        text = document.read_text(encoding="utf-8")
        for name, rest in re.findall(r"^(?:\$ |    )?hyperdex ([a-z]+)([^#\n]*)", text, re.MULTILINE):
            named.setdefault(document.name, set()).add(name)
            with _command(name).make_context(name, shlex.split(rest)):
                pass
    assert named["README.md"] == set(COMMANDS)
    assert named.keys() >= {"README.md", "json.md", "debugger.md", "distributed.md"}


@pytest.mark.parametrize("command", ["compile", "download", "estimate"])
def test_a_model_the_hub_does_not_give_is_answered_with_the_one_that_was_meant(
    command: str, prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "hyperdx/demo", "--prefix", str(prefix)]) == 9
    assert capsys.readouterr().err.endswith("; did you mean hyperdex/demo?\n")
    assert main([command, "nothing/like-it", "--prefix", str(prefix)]) == 9
    assert "did you mean" not in capsys.readouterr().err
