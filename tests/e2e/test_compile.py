"""Laws of compiling: same input, same bytes; events tell all; a failure leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.cli.main import main
from compiler.events import JobFinished, JobStarted, PhaseFailed, PhaseFinished, PhaseStarted, from_line
from compiler.workspace import Workspace, lock
from tests.oracle.checkpoints import RECIPES, Recipe, write_checkpoint

OPT = next(each for each in RECIPES if each.name == "opt")


def _place(prefix: Path, recipe: Recipe = OPT) -> Path:
    ckpt = prefix / recipe.model_id / "ckpt"
    write_checkpoint(recipe, ckpt)
    return ckpt


def _compile(prefix: Path, *options: str) -> int:
    return main(["compile", OPT.model_id, "--prefix", str(prefix), "--offline", *options])


def _artifacts(prefix: Path) -> dict[str, bytes]:
    """Every file of param and inst by its path in the model folder."""
    root = prefix / OPT.model_id
    files = [path for kind in ("param", "inst") for path in (root / kind).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_two_compiles_into_two_prefixes_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _place(tmp_path / name)
        assert _compile(tmp_path / name, "--num-device", "2") == 0
    first, second = _artifacts(tmp_path / "a"), _artifacts(tmp_path / "b")
    assert len(first) >= 2 * 32 + 5
    assert first == second


def test_events_and_job_file_tell_the_whole_compile(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _place(prefix)
    job = prefix / OPT.model_id / "jobs" / "1.jsonl"
    job.parent.mkdir()
    assert _compile(prefix, "--events", "--job", str(job)) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out == job.read_text(encoding="utf-8")
    records = [from_line(line) for line in told.out.splitlines()]
    assert isinstance(records[0], JobStarted)
    assert isinstance(records[-1], JobFinished)
    assert [record.phase for record in records if isinstance(record, PhaseStarted)] == [0, 1, 2, 3, 4]
    assert [record.phase for record in records if isinstance(record, PhaseFinished)] == [0, 1, 2, 3, 4]
    seconds = [record.seconds for record in records]
    assert seconds == sorted(seconds)


def test_a_second_compile_skips_what_is_up_to_date(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _place(prefix)
    assert _compile(prefix) == 0
    before = _artifacts(prefix)
    capsys.readouterr()
    assert _compile(prefix, "--events") == 0
    records = [from_line(line) for line in capsys.readouterr().out.splitlines()]
    skipped = {record.phase for record in records if isinstance(record, PhaseFinished) and record.skipped}
    assert skipped >= {2, 3, 4}
    assert _artifacts(prefix) == before


def test_stdout_names_the_build_and_stderr_narrates(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _place(prefix)
    assert _compile(prefix, "--num-device", "3", "--dtype", "bfloat16") == 0
    told = capsys.readouterr()
    assert told.out == "u55c-3x-bfloat16\n"
    assert [line for line in told.err.splitlines() if line.startswith("** Phase-")] == [
        "** Phase-0 : Check the model **",
        "** Phase-1 : Download the checkpoint **",
        "** Phase-2 : Convert to JSON and binary **",
        "** Phase-3 : Memory mapping **",
        "** Phase-4 : Instruction generation **",
    ]


@pytest.mark.parametrize(
    "options",
    [
        ["--num-device", "0"],
        ["--num-device", "65"],
        ["--target", "gpu"],
        ["--dtype", "int8"],
        ["--max-length", "0"],
        ["--max-length", "65"],
    ],
    ids=" ".join,
)
def test_impossible_options_leave_nothing_behind(
    options: list[str], prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = _place(prefix)
    before = sorted(ckpt.iterdir())
    assert _compile(prefix, *options) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("hyperdex: error: ")
    assert sorted(ckpt.iterdir()) == before
    assert _artifacts(prefix) == {}


def _phases_begun(out: str) -> list[int]:
    records = [from_line(line) for line in out.splitlines()]
    return [record.phase for record in records if isinstance(record, PhaseStarted)]


@pytest.mark.parametrize("content", ["{", "[]", '{"eos_token_id": "x"}'])
def test_a_bad_generation_config_is_refused_before_the_work(
    content: str, prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (_place(prefix) / "generation_config.json").write_text(content)
    assert _compile(prefix, "--events") in (3, 4)
    told = capsys.readouterr()
    assert _phases_begun(told.out) == [0, 1]
    assert "generation_config.json" in told.err


def test_a_stop_token_beyond_the_vocabulary_is_named_and_ends_nothing(
    prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (_place(prefix) / "generation_config.json").write_text('{"eos_token_id": [2, 1000000]}')
    assert _compile(prefix) == 0
    assert "generation_config.json: eos_token_id 1000000 is beyond the vocabulary" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["eos_token_id", "bos_token_id"])
def test_special_tokens_of_a_config_are_checked_in_phase_0(
    field: str, prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _place(prefix) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: "x"}))
    assert _compile(prefix, "--events") == 4
    told = capsys.readouterr()
    assert _phases_begun(told.out) == [0]
    assert f'{field} is "x"' in told.err


def test_damage_in_place_is_made_good_by_compiling_again(prefix: Path) -> None:
    _place(prefix)
    assert _compile(prefix) == 0
    before = _artifacts(prefix)
    for name in before:
        if "/param_" in name or name.endswith("manifest.json"):
            continue
        path = prefix / OPT.model_id / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert _compile(prefix) == 0
        assert _artifacts(prefix) == before, name


def test_a_prefix_that_is_no_folder_is_one_usage_error(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (prefix / "file").write_text("")
    for options in (["--offline"], []):
        assert main(["compile", OPT.model_id, "--prefix", str(prefix / "file" / "below"), *options]) == 2
        told = capsys.readouterr().err
        assert "file is not a folder" in told
        assert sum("error:" in line for line in told.splitlines()) == 1


def test_a_truncated_checkpoint_is_one_line_and_the_last_event(
    prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = _place(prefix) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert _compile(prefix, "--events") == 3
    told = capsys.readouterr()
    last = from_line(told.out.splitlines()[-1])
    assert isinstance(last, PhaseFailed)
    assert last.exit_code == 3
    assert "model.safetensors" in told.err
    assert told.err.count("\n") == 1
    assert _artifacts(prefix) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=str)
def test_a_signal_leaves_no_partial_artifacts(number: signal.Signals, prefix: Path) -> None:
    _place(prefix)
    param = prefix / OPT.model_id / "param"
    code = (
        "import sys; from torture.interposer import Fault, Interposer; from compiler.cli.main import main\n"
        f"Interposer({str(param)!r}, Fault(20, {number.name!r}, kinds=('create',))).install()\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "compile", OPT.model_id, "--prefix", str(prefix), "--offline", "--events"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == f"hyperdex: error: interrupted by {number.name}\n"
    assert done.returncode == 130
    record = from_line(done.stdout.splitlines()[-1])
    assert isinstance(record, PhaseFailed)
    assert (record.phase, record.exit_code) == (3, 130)
    assert list(param.iterdir()) == []


def test_the_classic_session_walks_all_phases(
    prefix: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _place(prefix)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{OPT.model_id}\n2\n"))
    assert main(["run", "--prefix", str(prefix), "--offline"]) == 0
    told = capsys.readouterr().err
    for text in ("[Option] Model ID: ", "[Option] Number of LPU devices [1]: ", "** Phase-4 : ", "[Info] "):
        assert text in told
    assert (prefix / OPT.model_id / "inst" / "u55c-2x" / "inst_2fpga.bin").is_file()


def test_the_classic_session_is_a_module_of_its_own(prefix: Path) -> None:
    _place(prefix)
    command = [sys.executable, "-m", "compiler.cli.run", "--prefix", str(prefix)]
    done = subprocess.run(command, input=f"{OPT.model_id}\n\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "** Phase-4 : Instruction generation **" in done.stderr
    assert (prefix / OPT.model_id / "inst" / "u55c-1x" / "manifest.json").is_file()


def test_a_model_in_use_is_busy_and_says_who_holds_it(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _place(prefix)
    with lock(Workspace(prefix).model(OPT.model_id)):
        assert _compile(prefix) == 10
    assert f"pid {os.getpid()}" in capsys.readouterr().err


def test_a_compile_without_any_model_fails_in_one_line(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "tiny/absent", "--prefix", str(prefix), "--offline"]) in (3, 9)
    assert "Traceback" not in capsys.readouterr().err
