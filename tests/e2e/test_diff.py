"""Laws of `hyperdex diff` on real builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler.cli.main import main

MODEL_ID = "tiny/llama-gqa"
ONE, THREE = "u55c-1x-float32", "u55c-3x-float32"


def _diff(capsys: pytest.CaptureFixture[str], prefix: Path, *arguments: str) -> Any:
    capsys.readouterr()
    assert main(["diff", MODEL_ID, *arguments, "--prefix", str(prefix), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_build_does_not_differ_from_itself(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _diff(capsys, compiled, ONE, ONE)
    assert found["identical"]
    assert found["options"] == {} and found["added"] == found["removed"] == found["moved"] == []
    pairs = [*found["instructions"].values(), *found["by_unit"].values(), *found["by_opcode"].values()]
    assert all(before == after for before, after in [*pairs, *found["bytes"].values(), found["ms_per_token"]])
    assert main(["diff", MODEL_ID, ONE, ONE, "--prefix", str(compiled)]) == 0
    assert "options\n  the same\n" in capsys.readouterr().out


def test_there_and_back_are_mirror_images(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, back = _diff(capsys, compiled, ONE, THREE), _diff(capsys, compiled, THREE, ONE)
    assert not there["identical"]
    for name in ("options", "instructions", "by_unit", "by_opcode", "bytes"):
        assert {key: pair[::-1] for key, pair in there[name].items()} == back[name]
    assert there["ms_per_token"] == back["ms_per_token"][::-1]
    assert (there["added"], there["removed"], there["unmoved"]) == (back["removed"], back["added"], back["unmoved"])
    assert [(move["name"], move["before"], move["after"]) for move in there["moved"]] == [
        (move["name"], move["after"], move["before"]) for move in back["moved"]
    ]


def test_what_it_counts_is_what_the_listing_and_the_map_show(
    compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _diff(capsys, compiled, ONE, THREE)
    assert found["options"]["num_devices"] == ["1", "3"]
    for side, build in enumerate((ONE, THREE)):
        where = [MODEL_ID, "--build", build, "--prefix", str(compiled), "--json"]
        assert main(["disasm", *where]) == 0
        rows = json.loads(capsys.readouterr().out)["instructions"]
        assert found["instructions"]["all"][side] == len(rows)
        for name in ("by_unit", "by_opcode"):
            assert sum(pair[side] for pair in found[name].values()) == len(rows)
        assert found["by_opcode"]["mm"][side] == sum(row["mnemonic"] == "mm" for row in rows)
        assert main(["map", *where]) == 0
        regions = json.loads(capsys.readouterr().out)["regions"]
        assert len(regions) == found["unmoved"] + len(found["moved"]) + len(found[("removed", "added")[side]])


def test_three_devices_are_timed_apart_from_one(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long, short = _diff(capsys, compiled, ONE, THREE), _diff(capsys, compiled, ONE, THREE, "--tokens", "2")
    assert long["ms_per_token"][0] != long["ms_per_token"][1]
    assert short["timed_tokens"] == 2 and short["ms_per_token"][0] < long["ms_per_token"][0]
    assert main(["diff", MODEL_ID, ONE, THREE, "--tokens", "99999999", "--prefix", str(compiled)]) == 2


def test_passes_of_a_build_end_in_the_build(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, pair = _diff(capsys, compiled, THREE)["passes"], _diff(capsys, compiled, THREE, THREE)
    assert [effect["name"] for effect in found] == [
        "none", "dead-code", "fuse-linear", "fuse-residual-norm", "fuse-softmax", "value-first", "overlap",
        "chunk-transmit",
    ]  # fmt: skip
    first, last = found[0], found[-1]
    assert last["instructions"] == pair["instructions"]["all"][0] < first["instructions"]
    assert last["streams"] == pair["streams"]["of parameters"][0] + pair["streams"]["of caches"][0]
    assert last["transfers"] == pair["by_opcode"]["tx"][0]
    assert last["ms_per_token"] == pair["ms_per_token"][0] < first["ms_per_token"]
    assert last["waits"] == {name: before for name, (before, _) in pair["waits"].items()}
    assert all(0 < effect["synchronisation_ms"] < effect["ms_per_token"] for effect in found)


def test_one_device_has_nothing_to_synchronise(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {effect["synchronisation_ms"] for effect in _diff(capsys, compiled, ONE)["passes"]} == {0.0}
    assert main(["diff", MODEL_ID, ONE, "--prefix", str(compiled)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{MODEL_ID}: {ONE}, pass after pass")
    assert lines[-1].endswith("times as fast as without passes")


def test_a_build_that_is_not_there_is_an_artifact_error(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", MODEL_ID, ONE, "u55c-9x", "--prefix", str(compiled)]) == 6
    assert capsys.readouterr().err.count("\n") == 1
