"""`hyperdex estimate`: its defaults suit the model, its lists name each thing once."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path

import pytest

from compiler.cli.main import main
from compiler.demo import demo_folder
from compiler.target import TARGET_NAMES


def estimated(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    """What `--json` says of the demo model."""
    assert main(["estimate", str(demo_folder() / "config.json"), "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, list)
    return found


def own_target(folder: Path, before: str, after: str) -> str:
    """A target file of one's own, changed in one place."""
    text = resources.files("compiler.target").joinpath("devices", "u55c.toml").read_text(encoding="utf-8")
    assert before in text
    path = folder / "own.toml"
    path.write_text(text.replace(before, after), encoding="utf-8")
    return str(path)


def test_a_model_shorter_than_the_default_text_is_estimated_for_what_it_has_room_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = estimated(capsys, "--num-device", "1")
    assert whole == estimated(capsys, "--num-device", "1", "--output-tokens", "224")
    assert whole[0]["fits"]


def test_a_length_shorter_than_the_default_text_is_estimated_for_what_it_has_room_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    short = estimated(capsys, "--num-device", "1", "--max-length", "100")
    assert short == estimated(capsys, "--num-device", "1", "--max-length", "100", "--output-tokens", "68")
    assert short[0]["fits"] and short[0]["max_length"] == 100


def test_a_pipe_in_place_of_a_config_or_a_target_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(demo_folder() / "config.json")
    for name, code in (("x.json", 3), ("x", 2), ("x.toml", 2)):
        pipe = str(tmp_path / name)
        os.mkfifo(pipe)
        arguments = [config, "--target", pipe] if name.endswith(".toml") else [pipe]
        assert main(["estimate", *arguments]) == code
        told = capsys.readouterr().err
        assert told.startswith("hyperdex: error: ") and pipe in told and "not a regular file" in told


def test_a_prompt_as_long_as_the_model_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", str(demo_folder() / "config.json"), "--input-tokens", "256"]) == 2
    assert "256 input and 1 output tokens exceed max_position_embeddings 256" in capsys.readouterr().err


def test_a_length_that_a_compile_refuses_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", str(demo_folder() / "config.json"), "--max-length", "257"]) == 2
    assert "max_length 257 is outside 2..256" in capsys.readouterr().err


def test_lists_name_each_target_and_number_once_and_all_stands_beside_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = own_target(tmp_path, 'name = "u55c"', 'name = "own"')
    found = estimated(capsys, "--num-device", "1,2,1", "--target", f"u55c,all,{own}")
    assert [(each["target"], each["num_device"]) for each in found] == [
        (target, count) for target in ("u55c", "lpu-819", "lpu-1640", "lpu-3280", own) for count in (1, 2)
    ]


def test_a_device_whose_vector_memory_is_too_small_has_no_number_that_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = own_target(tmp_path, "capacity_bytes = 4194304", "capacity_bytes = 64")
    (found,) = estimated(capsys, "--num-device", "1", "--target", own)
    assert (found["fits"], found["smallest_fit"]) == (False, 0)
    assert "LMU" in str(found["reason"])


def test_a_folder_with_a_config_stands_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = estimated(capsys, "--num-device", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ckpt").symlink_to(demo_folder())
    for folder in (str(demo_folder()), "ckpt", "./ckpt", "./ckpt/config.json"):
        assert main(["estimate", folder, "--json", "--num-device", "1"]) == 0
        assert json.loads(capsys.readouterr().out) == expected


@pytest.mark.parametrize("place", ["absent.json", "absent/config.json", "./absent", "/absent", "."])
def test_a_path_to_no_config_is_a_usage_error(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["estimate", place]) == 2
    told = capsys.readouterr().err
    assert "there is no f" in told or "holds no config.json" in told
    assert told.count("\n") == 1


def test_a_config_that_is_no_json_is_a_damaged_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert main(["estimate", str(tmp_path)]) == 3


def test_a_combination_that_cannot_be_has_a_row_with_its_reason_and_the_others_their_times(
    capsys: pytest.CaptureFixture[str],
) -> None:
    builds = "--topology", "2-lines", "--num-device", "2,5,8,4"
    found = estimated(capsys, *builds)
    assert [(each["num_device"], each["fits"], bool(each["ms_per_token"])) for each in found] == [
        (2, True, True),
        (5, False, False),
        (8, False, False),
        (4, True, True),
    ]
    assert [bool(each["reason"]) for each in found] == [False, True, True, False]
    assert "5 devices cannot be wired as 2-lines" in str(found[1]["reason"])
    assert main(["estimate", str(demo_folder() / "config.json"), *builds]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert ["  yes" in row for row in rows] == [True, False, False, True]
    assert "no; 8 devices cannot be wired as 2-lines: each of 2 lines of a server has 4" in rows[2]


@pytest.mark.parametrize("counts", ["5", "5,8"])
def test_when_no_combination_can_be_the_first_is_refused_in_one_line(
    counts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for target in ("u55c", "u55c,lpu-3280"):
        arguments = ("--topology", "2-lines", "--num-device", counts, "--target", target)
        assert main(["estimate", str(demo_folder() / "config.json"), *arguments]) == 2
        told = capsys.readouterr()
        assert not told.out
        assert told.err.startswith("hyperdex: error: 5 devices cannot be wired as 2-lines")
        assert told.err.count("\n") == 1


def test_the_columns_stand_below_their_heads_whatever_a_target_file_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = own_target(tmp_path, 'name = "u55c"', 'name = "own"')
    arguments = ["--num-device", "1", "--input-tokens", "1", "--target", f"u55c,{own}"]
    assert main(["estimate", str(demo_folder() / "config.json"), *arguments]) == 0
    first, head, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("estimated for 1 token in and 255 out")
    assert len({row.index("yes") for row in rows} | {head.index("fits")}) == 1


@pytest.mark.parametrize("command", ["estimate", "compile"])
@pytest.mark.parametrize(("option", "value"), [("--topology", "torus"), ("--dtype", "int3"), ("--target", "u99")])
def test_a_misspelt_option_is_refused_before_a_config_is_looked_for(
    command: str, option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "nobody/nothing", "--prefix", str(tmp_path), "--offline", option, value]) == 2
    assert value in capsys.readouterr().err
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("width", [60, 80, 100, 120, None])
def test_the_table_fits_the_terminal_and_a_pipe_gets_all_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int | None
) -> None:
    monkeypatch.setattr("compiler.cli.estimate.terminal_width", lambda: width)
    arguments = ["--num-device", "2,5", "--target", "all", "--topology", "2-lines"]
    assert main(["estimate", str(demo_folder() / "config.json"), *arguments]) == 0
    head, *rows = capsys.readouterr().out.splitlines()[1:]
    assert head.startswith("target       N  per device") and head.endswith("  binds")
    if width is None:
        assert all(name in head for name in ("of", "tokens/s", "TTFT ms", "utilisation", "J/token"))
        assert len(rows) == 2 * len(TARGET_NAMES)
    else:
        assert max(map(len, [head, *rows])) <= width
    assert " ".join(" ".join(rows).split()).count("cannot be wired as 2-lines: each of 2 lines of a server has 4") >= 1
