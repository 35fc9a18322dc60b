"""Laws of shell completion and of `hyperdex help`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from compiler.cli.main import COMMANDS, main
from compiler.planning import PASS_NAMES
from compiler.target import TARGET_NAMES


@pytest.fixture
def models(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prefix with a model of two builds, which the environment names."""
    for build in ("u55c-1x", "u55c-2x"):
        (prefix / "tiny" / "opt" / "inst" / build).mkdir(parents=True)
    monkeypatch.setenv("HYPERDEX_PREFIX", str(prefix))
    return prefix


def offered(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What bash is offered at the end of a line."""
    monkeypatch.setenv("_HYPERDEX_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert main([]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    return [word.partition(",")[2] for word in told.out.splitlines() if word]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hyperdex ", list(COMMANDS)),
        ("hyperdex gen", ["generate"]),
        ("hyperdex map ti", ["tiny/opt"]),
        ("hyperdex map hyp", ["hyperdex/demo"]),
        ("hyperdex map tiny/opt --build ", ["u55c-1x", "u55c-2x"]),
        ("hyperdex delete --build u55c-2", []),
        ("hyperdex diff tiny/opt u55c-1x ", ["u55c-1x", "u55c-2x"]),
        ("hyperdex compile x --target ", sorted(TARGET_NAMES)),
        ("hyperdex compile x --target nonsense --dtype b", ["bfloat16"]),
        ("hyperdex compile x --topology 2", ["2-lines"]),
        ("hyperdex compile x --no-pass ", sorted(PASS_NAMES)),
        ("hyperdex map --prefix /absent ti", []),
        ("hyperdex map --prefix ~nobody-at-all/x ti", []),
        ("hyperdex map ../x --build ", []),
    ],
)
def test_a_shell_is_offered_what_fits(
    line: str, expected: list[str], models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert offered(line, monkeypatch, capsys) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_the_shell_can_read(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_HYPERDEX_COMPLETE" in script and "hyperdex" in script
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n", "-c", script], check=True, capture_output=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_is_its_own_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert main(["help", name]) == 0
    assert capsys.readouterr().out == shown


def test_help_alone_is_the_list_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert main(["help"]) == 0
    assert capsys.readouterr().out == shown
    assert main(["help", "nonsense"]) == 2
