"""Laws of the commands on a real build."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.cli.main import main
from tests.oracle.checkpoints import VOCAB_SIZE, greedy

MODEL_ID = "tiny/llama-gqa"
BUILD = "u55c-3x-float32"
PROMPT = "to be"


def _told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """stdout of a command that goes through."""
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def _generate(capsys: pytest.CaptureFixture[str], prefix: Path, *options: str) -> str:
    where = ["--prefix", str(prefix), "--build", BUILD, "--max-new-tokens", "20"]
    return _told(capsys, "generate", MODEL_ID, PROMPT, *where, *options)


def test_generate_json_is_transformers_greedy_text(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoTokenizer

    ckpt = compiled / MODEL_ID / "ckpt"
    found = json.loads(_generate(capsys, compiled, "--json"))
    tokenizer = AutoTokenizer.from_pretrained(ckpt)
    assert found["prompt_token_ids"] == tokenizer(PROMPT)["input_ids"]
    assert found["token_ids"] == greedy(ckpt, tuple(found["prompt_token_ids"]), 20)
    assert found["text"] == tokenizer.decode(found["token_ids"], skip_special_tokens=True)
    assert found["build"] == BUILD
    assert found["finish_reason"] == ("stop" if found["token_ids"][-1] == 2 else "length")


def test_text_stream_and_json_agree(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = json.loads(_generate(capsys, compiled, "--json"))
    assert _generate(capsys, compiled) == whole["text"] + "\n"
    *tokens, last = [json.loads(line) for line in _generate(capsys, compiled, "--stream-json").splitlines()]
    assert [token["token_id"] for token in tokens] == whole["token_ids"]
    assert "".join(token["text"] for token in tokens) == whole["text"]
    assert last == {"done": True, **whole}


def test_logits_are_saved_for_every_new_token(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "logits.npy"
    found = json.loads(_generate(capsys, compiled, "--json", "--logits", str(file)))
    logits = np.load(file)
    assert logits.dtype == np.float32
    assert logits.shape == (len(found["token_ids"]), VOCAB_SIZE)
    assert [int(token) for token in logits.argmax(axis=1)] == found["token_ids"]


def test_a_stop_string_ends_the_text_before_it(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = json.loads(_generate(capsys, compiled, "--json"))["text"]
    stop = text[3:5]
    found = json.loads(_generate(capsys, compiled, "--json", "--stop", stop))
    assert found["text"] == text[: text.index(stop)]
    assert found["finish_reason"] == "stop"


def test_prompt_ids_stand_for_the_prompt(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = json.loads(_generate(capsys, compiled, "--json"))
    ids = ",".join(str(token) for token in whole["prompt_token_ids"])
    where = ["--prefix", str(compiled), "--build", BUILD, "--max-new-tokens", "20", "--json"]
    assert json.loads(_told(capsys, "generate", MODEL_ID, "--prompt-ids", ids, *where)) == {**whole, "prompt": None}


def test_equal_seeds_draw_equal_texts_and_others_differ(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def drawn(seed: int) -> Any:
        options = ["--do-sample", "--temperature", "3", "--top-p", "0.9", "--seed", str(seed), "--json"]
        return json.loads(_generate(capsys, compiled, *options))["token_ids"]

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(4)}) > 1


@pytest.mark.parametrize(
    "options",
    [["--prompt-ids", "1"], ["--top-p", "0"], ["--temperature", "nan"], ["--max-new-tokens", "9999"], ["--seed", "-1"]],
    ids=" ".join,
)
def test_impossible_generation_options_are_usage_errors(
    options: list[str], compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", MODEL_ID, PROMPT, "--prefix", str(compiled), "--build", BUILD, *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_build_must_be_named_when_there_are_several(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", MODEL_ID, PROMPT, "--prefix", str(compiled)]) == 2
    told = capsys.readouterr().err
    assert "u55c-1x-float32, u55c-3x-float32" in told
    assert told.count("\n") == 1


def test_a_listing_assembles_to_the_same_bytes(compiled: Path) -> None:
    program = compiled / MODEL_ID / "inst" / BUILD / "inst_3fpga.bin"
    hyperdex = [sys.executable, "-m", "compiler"]
    listing = [*hyperdex, "disasm", MODEL_ID, "--prefix", str(compiled), "--build", BUILD]
    text = subprocess.run(listing, capture_output=True, check=True).stdout
    again = subprocess.run([*hyperdex, "asm", "-"], input=text, capture_output=True, check=True).stdout
    assert again == program.read_bytes()


def test_disasm_filters_agree_with_json(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["disasm", MODEL_ID, "--prefix", str(compiled), "--build", BUILD]
    rows = json.loads(_told(capsys, *where, "--json"))["instructions"]
    layer_one = [row for row in rows if row["layer"] == 1 and row["unit"] == "SXE"]
    lines = _told(capsys, *where, "--layer", "1", "--unit", "sxe").splitlines()
    assert [int(line.split(":")[0]) for line in lines] == [row["index"] for row in layer_one]
    assert layer_one
    grepped = _told(capsys, *where, "--grep", r"^\d+: hlt").splitlines()
    assert len(grepped) == sum(row["mnemonic"] == "hlt" for row in rows)


def test_every_weight_of_the_checkpoint_is_named_in_map_and_listing(
    compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors import safe_open

    with safe_open(compiled / MODEL_ID / "ckpt" / "model.safetensors", "np") as file:
        tensors = set(file.keys())
    where = [MODEL_ID, "--prefix", str(compiled), "--build", BUILD]
    regions = json.loads(_told(capsys, "map", *where, "--json"))["regions"]
    assert tensors <= {region["source"]["tensor"] for region in regions}
    listing = _told(capsys, "disasm", *where)
    assert all(tensor in listing for tensor in tensors)


def test_map_shows_one_device_and_one_channel(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["map", MODEL_ID, "--prefix", str(compiled), "--build", BUILD]
    whole = json.loads(_told(capsys, *where, "--json"))
    part = json.loads(_told(capsys, *where, "--device", "2", "--channel", "31", "--json"))
    assert {region["name"] for region in part["regions"]} < {region["name"] for region in whole["regions"]}
    assert {segment["device"] for region in part["regions"] for segment in region["segments"]} == {2}
    assert main([*where, "--device", "3"]) == 2
    assert "q_proj" in _told(capsys, *where, "--device", "0")


def test_models_lists_phases_builds_and_staleness(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = tmp_path / "copy"
    shutil.copytree(compiled, prefix)
    (model,) = json.loads(_told(capsys, "models", "--prefix", str(prefix), "--json"))["models"]
    assert model["model_id"] == MODEL_ID
    assert model["phases"] == [1, 2]
    assert [build["name"] for build in model["builds"]] == ["u55c-1x-float32", BUILD]
    assert all(build["phases"] == [3, 4] and build["stale"] == "" for build in model["builds"])
    assert BUILD in _told(capsys, "models", "--prefix", str(prefix))
    weights = prefix / MODEL_ID / "ckpt" / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    (model,) = json.loads(_told(capsys, "models", "--prefix", str(prefix), "--json"))["models"]
    assert model["stale"] == "model.safetensors changed"


def test_verify_passes_a_build_and_finds_one_flipped_byte(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["verify", MODEL_ID, "--build", BUILD, "--prefix"]
    assert all(line.startswith("ok ") for line in _told(capsys, *where, str(compiled)).splitlines())
    prefix = tmp_path / "copy"
    shutil.copytree(compiled, prefix)
    damaged = prefix / MODEL_ID / "param" / BUILD / "param_3fpga_01_07.bin"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    assert main([*where, str(prefix)]) == 6
    told = capsys.readouterr()
    assert damaged.name in told.out
    assert told.err.count("\n") == 1


def test_supported_lists_architectures(capsys: pytest.CaptureFixture[str]) -> None:
    assert "LlamaForCausalLM" in _told(capsys, "models", "--supported")
    names = [each["name"] for each in json.loads(_told(capsys, "models", "--supported", "--json"))["architectures"]]
    assert "OPTForCausalLM" in names
