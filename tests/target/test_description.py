"""Descriptions of devices: complete, with sources, free of contradictions; anything else is one line."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from compiler.errors import UsageError
from compiler.target import TARGET_NAMES, load_target
from compiler.target.description import read_description

TEXT = resources.files("compiler.target").joinpath("devices", "lpu-3280.toml").read_text(encoding="utf-8")
NUMBER = re.compile(r"^(\w+) = [-\d.e]+$", re.MULTILINE)


def _refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        read_description(text, "X")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", TARGET_NAMES)
def test_every_number_of_a_target_has_a_source(name: str) -> None:
    target = load_target(name)
    sources = dict(target.sources)
    assert target.name == name
    for group, value in (("timing", target.timing), ("link", target.link)):
        for field in value.__slots__:
            assert len(sources[f"{group}.{field}"]) > 5
    assert {"compute", "hbm", "lmu", "power"} <= sources.keys()


def test_each_number_is_missed_by_name() -> None:
    found = list(NUMBER.finditer(TEXT))
    assert len(found) > 20
    for match in found:
        message = _refusal(TEXT[: match.start()] + TEXT[match.end() :])
        assert re.match(rf"X: \w+\.{match[1]} is missing, expected an? ?(whole )?number; correct the file", message)


@pytest.mark.parametrize("value", ["0", "-1", '"x"', "true", "inf", "nan", "[]", "1e-300", "1e300", 300 * "9"])
def test_each_number_is_refused_when_it_cannot_be_one(value: str) -> None:
    for match in NUMBER.finditer(TEXT):
        message = _refusal(f"{TEXT[: match.start()]}{match[1]} = {value}{TEXT[match.end() :]}")
        assert f".{match[1]} is " in message
        assert "expected" in message
        assert len(message) < 120


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        ("trees = 32", "trees = 24", "compute.trees is 24, which does not divide hbm.channels 32"),
        ("channels = 32", "channels = 16", "hbm.channels is 16, parameter files are made for 32"),
        (
            "capacity_bytes = 96000000000",
            "capacity_bytes = 2047",
            "hbm.capacity_bytes is 2047, less than one burst of 64 bytes in each of 32 channels",
        ),
        ("burst_bytes = 64", "burst_bytes = 32", "hbm.burst_bytes is 32, addresses count 64"),
        ("hbm_efficiency = 0.9565", "hbm_efficiency = 1.2", "timing.hbm_efficiency is 1.2, at most 1"),
        ("fifo_bytes = 402772", "fifo_bytes = 100000", "timing.fifo_bytes is 100000, less than the 313732 bytes"),
        ("header_bytes = 64", "header_bytes = 5000", "link.header_bytes is 5000, not below link.packet_bytes 4096"),
        ('topology = "ring"', 'topology = "torus"', "link.topology is 'torus', expected ring, 2-lines, 4-lines"),
        ("server_devices = 8", "server_devices = 6", "link.server_devices is 6, four lines need a multiple of 4"),
        ("trees = 32", "trees = 32\nforest = 1", "compute.forest is not a number of a target"),
        ("[power]", "[powers]", "powers is not a table of a target"),
        ('name = "lpu-3280"', "", "name is missing, expected text"),
        ('source = "4 nm', 'origin = "4 nm', "compute.origin is not a number of a target"),
        ("[timing.sources]\n", "[timing.sources]\nx = 1\n[other]\n", "other is not a table of a target"),
        ("[compute]", "[compute", "is not valid TOML"),
        ("trees = 32", "trees = 1" + 5000 * "0", "is not valid TOML"),
    ],
)
def test_contradictions_are_one_line(line: str, replacement: str, message: str) -> None:
    assert line in TEXT
    assert message in _refusal(TEXT.replace(line, replacement, 1))


def test_a_number_without_source_is_refused() -> None:
    start = TEXT.index("packet_bytes = ", TEXT.index("[link.sources]"))
    text = TEXT[:start] + TEXT[TEXT.index("\n", start) :]
    assert _refusal(text) == "X: link.packet_bytes has no source; say where the number comes from"


def test_a_file_of_ones_own_is_a_target(tmp_path: Path) -> None:
    path = tmp_path / "faster.toml"
    path.write_text(TEXT.replace("bandwidth_bytes_per_s = 3.28e12", "bandwidth_bytes_per_s = 4e12"), encoding="utf-8")
    assert load_target(str(path)).hbm_bytes_per_s == 4e12
    with pytest.raises(UsageError, match=r"target file .*missing\.toml cannot be read: No such file"):
        load_target(str(tmp_path / "missing.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"bytes\.toml cannot be read: it is not text"):
        load_target(str(tmp_path / "bytes.toml"))
    with pytest.raises(UsageError, match=r"target 'lpu-1' is not one of u55c, .* or a \.toml file"):
        load_target("lpu-1")
