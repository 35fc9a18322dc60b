"""Laws of `hyperdex generate` when something is odd: said in one line, and never by exit code 70."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.cli.main import main

MODEL_ID = "tiny/llama-gqa"
BUILD = "u55c-1x-float32"
IDS = ["--prompt-ids", "5,6,7"]


@pytest.fixture
def prefix(compiled: Path, tmp_path: Path) -> Path:
    """A copy of the compiled model to damage."""
    shutil.copytree(compiled, tmp_path / "copy")
    return tmp_path / "copy"


def _generate(prefix: Path, *arguments: str) -> int:
    where = ["--prefix", str(prefix), "--build", BUILD, "--max-new-tokens", "5"]
    return main(["generate", MODEL_ID, *where, *arguments])


def _ids(prefix: Path, capsys: pytest.CaptureFixture[str]) -> list[int]:
    assert _generate(prefix, *IDS, "--json") == 0
    found: list[int] = json.loads(capsys.readouterr().out)["token_ids"]
    return found


def test_without_a_tokenizer_the_ids_are_the_text(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = _ids(prefix, capsys)
    (prefix / MODEL_ID / "ckpt" / "tokenizer.json").unlink()
    assert _generate(prefix, *IDS) == 0
    told = capsys.readouterr()
    assert told.out == ",".join(str(token) for token in expected) + "\n"
    assert told.err.count("\n") == 1 and "is stale: tokenizer.json is gone" in told.err


def test_a_broken_tokenizer_matters_only_where_one_is_needed(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = _ids(prefix, capsys)
    (prefix / MODEL_ID / "ckpt" / "tokenizer.json").write_text('{"model": 3}')
    assert _generate(prefix, *IDS) == 0
    told = capsys.readouterr()
    assert told.out == ",".join(str(token) for token in expected) + "\n"
    stale, broken = told.err.splitlines()
    assert "is stale: tokenizer.json changed" in stale and broken.startswith("hyperdex: warning: ")
    for arguments in (["to be"], [*IDS, "--stop", "x"]):
        assert _generate(prefix, *arguments) == 3
        told = capsys.readouterr()
        last = told.err.splitlines()[-1]
        assert last.startswith("hyperdex: error: ") and "tokenizer" in last and told.err.count("\n") == 2
        assert "Error" not in told.err and "Exception" not in told.err


def test_a_config_that_transformers_refuses_matters_only_for_text(
    prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt = prefix / MODEL_ID / "ckpt"
    config = json.loads((ckpt / "config.json").read_text())
    (ckpt / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0}))
    (ckpt / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    assert _generate(prefix, *IDS) == 0
    assert "Error" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([MODEL_ID, b"ab\xff"], "the prompt is not UTF-8 (byte 2)"),
        ([MODEL_ID, "häh".encode() + b"\xc3"], "the prompt is not UTF-8 (byte 4)"),
        ([MODEL_ID, "x", "--stop", b"\x80"], "--stop is not UTF-8 (byte 0)"),
        ([b"tiny/\xff", "x"], "model id"),
    ],
)
def test_bytes_that_are_no_text_are_a_usage_error(arguments: list[str | bytes], said: str, compiled: Path) -> None:
    command = [sys.executable, "-m", "compiler", "generate", *arguments, "--prefix", str(compiled), "--build", BUILD]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr.decode() and done.stderr.count(b"\n") == 1


def test_a_stale_build_runs_and_says_so(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = _ids(prefix, capsys)
    config = prefix / MODEL_ID / "ckpt" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "rope_theta": 7.0}))
    assert _generate(prefix, *IDS, "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["token_ids"] == expected
    assert told.err.startswith(f"hyperdex: warning: {MODEL_ID} {BUILD} is stale: config.json changed; ")
    assert told.err.count("\n") == 1


def test_verify_refuses_damaged_weights_before_the_first_token(
    prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _generate(prefix, *IDS, "--verify") == 0
    capsys.readouterr()
    damaged = prefix / MODEL_ID / "param" / BUILD / "param_1fpga_00_05.bin"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    assert _generate(prefix, *IDS, "--verify") == 6
    told = capsys.readouterr()
    assert told.out == "" and damaged.name in told.err


@pytest.mark.parametrize(
    ("options", "idle"),
    [(["--top-k", "3", "--seed", "0"], "--top-k, --seed"), (["--temperature", "1.0"], "--temperature")],
)
def test_sampling_options_that_change_nothing_are_named(
    options: list[str], idle: str, compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _generate(compiled, *IDS, *options) == 0
    assert capsys.readouterr().err.startswith(f"hyperdex: warning: {idle} without --do-sample ")
    assert _generate(compiled, *IDS, *options, "--do-sample") == 0
    assert _generate(compiled, *IDS, "--repetition-penalty", "2") == 0
    assert capsys.readouterr().err == ""


def test_json_and_a_stream_of_json_exclude_each_other(compiled: Path) -> None:
    assert _generate(compiled, *IDS, "--json", "--stream-json") == 2


def test_logits_leave_a_device_a_device(compiled: Path) -> None:
    assert _generate(compiled, *IDS, "--logits", os.devnull) == 0
    assert Path(os.devnull).is_char_device()


def test_a_layer_that_the_model_lacks_is_a_usage_error(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["disasm", MODEL_ID, "--prefix", str(compiled), "--build", BUILD, "--layer", "99"]) == 2
    assert "--layer 99 is not in 0..1" in capsys.readouterr().err


def test_a_build_that_is_not_there_is_an_artifact_error(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("map", "disasm", "verify"):
        assert main([command, MODEL_ID, "--prefix", str(compiled), "--build", "u55c-9x"]) == 6
        assert f"it has: {BUILD}, u55c-3x-float32" in capsys.readouterr().err


def test_a_locale_that_is_not_utf8_changes_no_prompt(compiled: Path) -> None:
    command = [sys.executable, "-m", "compiler", "generate", MODEL_ID, "häh", "--prefix", str(compiled), "--json"]
    plain = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    runs = [
        subprocess.run([*command, "--build", BUILD, "--stop", "→"], env=env, capture_output=True, text=True, check=True)
        for env in (plain, {**os.environ, "PYTHONUTF8": "1"})
    ]
    assert runs[0].stdout == runs[1].stdout
    assert json.loads(runs[0].stdout)["prompt"] == "häh"
