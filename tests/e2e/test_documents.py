"""What README.md and docs/json.md show is what the commands say."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import click
import pytest

from compiler.cli.main import main

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _sessions(document: str) -> list[tuple[str, str]]:
    """Command lines of a document's console blocks, each with what it prints."""
    found = []
    for block in BLOCK.findall((ROOT / document).read_text(encoding="utf-8")):
        for part in block.split("$ hyperdex ")[1:]:
            line, _, output = part.partition("\n")
            found.append((line, output))
    return found


README, JSON = _sessions("README.md"), _sessions("docs/json.md")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix with the demo model on one device and on two."""
    prefix = tmp_path_factory.mktemp("documents")
    for count in ("1", "2"):
        assert main(["compile", "hyperdex/demo", "--prefix", str(prefix), "--num-device", count]) == 0
    return prefix


@pytest.fixture
def demo(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which the environment names."""
    shutil.copytree(built, tmp_path / "models")
    monkeypatch.setenv("HYPERDEX_PREFIX", str(tmp_path / "models"))
    return tmp_path / "models"


def test_the_sessions_of_the_readme_are_what_is_printed(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(demo)
    assert README
    for line, output in README:
        capsys.readouterr()
        assert main(shlex.split(line)) == 0
        assert capsys.readouterr().out == output


def same_shape(shown: object, found: object, where: str) -> None:
    """Hold shown fields to those that came: names and types; `...` is any name, the last element all the rest."""
    if isinstance(shown, dict):
        assert isinstance(found, dict), where
        if set(shown) == {"..."}:
            for name, value in found.items():
                same_shape(shown["..."], value, f"{where}.{name}")
            return
        assert set(found) == set(shown), where
        for name, value in shown.items():
            same_shape(value, found[name], f"{where}.{name}")
    elif isinstance(shown, list):
        assert isinstance(found, list), where
        for index, value in enumerate(found):
            same_shape(shown[min(index, len(shown) - 1)], value, f"{where}[]")
    elif isinstance(shown, float):
        assert isinstance(found, (int, float)) and not isinstance(found, bool), where
    elif found is not None or shown is None:
        assert type(found) is type(shown), where


@pytest.mark.parametrize(("line", "output"), JSON, ids=[line for line, _ in JSON])
def test_documented_json_has_the_fields_that_come(
    line: str, output: str, demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(shlex.split(line))
    found = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    documented = _values(output)
    assert len(found) == len(documented)
    for shown, each in zip(documented, found, strict=True):
        same_shape(shown, each, line)
    failed = found[0].get("error") if isinstance(found[0], dict) else None
    assert code == (failed["exit_code"] if failed else 0)


def test_every_command_with_json_is_documented() -> None:
    from compiler.cli.main import COMMANDS

    documented = {line.split()[0] for line, _ in JSON} | {"search"}  # which asks the hub
    able = {name for name in COMMANDS if "--json" in _options(name)}
    assert able == documented


def _options(name: str) -> set[str]:
    command = import_module(f"compiler.cli.{name}").command
    assert isinstance(command, click.Command)
    return {option for parameter in command.params for option in parameter.opts}


def _values(text: str) -> list[object]:
    """JSON values one behind the other."""
    decoder, values = json.JSONDecoder(), []
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:]
    return values
