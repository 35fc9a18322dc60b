"""Laws of `hyperdex doctor`: it looks, never touches, and keeps secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compiler.cards import find_cards
from compiler.cli.doctor import examine, judge_packages
from compiler.cli.main import main


def _device(root: Path, address: str, vendor: str, device: str, driver: str = "") -> None:
    folder = root / address
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "device").write_text(f"{device}\n")
    if driver:
        (root / "drivers" / driver).mkdir(parents=True)
        (folder / "driver").symlink_to(root / "drivers" / driver)


def test_cards_are_the_devices_of_the_vendor(tmp_path: Path) -> None:
    _device(tmp_path, "0000:01:00.0", "0x10ee", "0x505c", "xclmgmt")
    _device(tmp_path, "0000:01:00.1", "0x10ee", "0x505d")
    _device(tmp_path, "0000:02:00.0", "0x8086", "0x1234")
    _device(tmp_path, "0000:03:00.0", "nonsense", "0x1234")
    (tmp_path / "empty").mkdir()
    found = [(card.address, card.ids, card.driver) for card in find_cards(tmp_path)]
    assert found == [("0000:01:00.0", "10ee:505c", "xclmgmt"), ("0000:01:00.1", "10ee:505d", "")]
    assert find_cards(tmp_path / "absent") == ()


def test_text_and_json_tell_the_same(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--prefix", str(prefix), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["findings"]
    assert [row["name"] for row in rows] == [
        *("versions", "packages", "machine", "emulator", "terminal", "prefix", "models", "cards", "hub")
    ]
    assert main(["doctor", "--prefix", str(prefix)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[row["level"], row["name"]] for row in rows]


def test_the_prefix_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--prefix", str(tmp_path / "a" / "b")]) == 0
    assert "not made yet" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_what_will_not_work_is_a_problem_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["doctor", "--prefix", str(tmp_path / "file")]) == 2
    told = capsys.readouterr()
    assert "problem  prefix" in told.out
    assert told.err == "hyperdex: error: this machine has a problem with: prefix; see the lines above\n"


def test_no_secret_is_shown(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hub() -> str:
        return next(finding.detail for finding in examine(prefix) if finding.name == "hub")

    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    monkeypatch.setenv("HF_ENDPOINT", "https://somebody:password@mirror.example")
    assert hub() == "https://mirror.example, a token; offline: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    assert hub() == "https://mirror.example, no token"
    monkeypatch.setenv("HF_ENDPOINT", "nonsense")
    assert "HF_ENDPOINT is not" in hub()


@pytest.mark.parametrize(
    ("wanted", "installed", "level", "said"),
    [
        (["torch<3,>=2.6"], {"torch": "2.13.0+cpu"}, "ok", "torch 2.13.0+cpu"),
        (["torch<3,>=2.6"], {"torch": "2.5"}, "warning", "torch 2.5 is not <3,>=2.6"),
        (["torch>=2.6", "rich"], {"rich": "1"}, "problem", "missing: torch"),
        (['pytest>=8; extra == "dev"', 'tomli; python_version < "3"'], {}, "ok", ""),
        (["torch>=2.6"], {"torch": "3.0.dev1"}, "ok", "torch 3.0.dev1"),
    ],
)
def test_packages_are_judged_by_what_the_metadata_wants(
    wanted: list[str], installed: dict[str, str], level: str, said: str
) -> None:
    found = judge_packages(wanted, installed)
    assert found.level == level and said in found.detail


def test_where_the_prefix_comes_from_and_what_lies_in_it_is_said(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def details(given: Path | None) -> dict[str, str]:
        return {finding.name: finding.detail for finding in examine(given)}

    assert "(--prefix)" in details(prefix)["prefix"]
    (prefix / "a" / "ckpt").mkdir(parents=True)
    (prefix / "a" / "ckpt" / "config.json").write_text("{}")
    monkeypatch.setenv("HYPERDEX_PREFIX", str(prefix))
    assert "($HYPERDEX_PREFIX)" in details(None)["prefix"]
    assert details(None)["models"] == "1 model with 0 builds, 2 bytes"
