"""Laws of staleness: whatever a compile would do again is named, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from compiler.cli.models import inspect_model
from compiler.demo import DEMO_MODEL_ID, install_demo
from compiler.pipeline import CompileOptions, compile_model
from compiler.staleness import checkpoint_state, stale_build
from compiler.workspace import ModelFolder, Workspace
from hyperdex_tui.backend.inventory import read_model
from tests.sealed import sealed

BUILD = "u55c-1x"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix with the demo model on one device."""
    prefix = tmp_path_factory.mktemp("prefix")
    install_demo(prefix / DEMO_MODEL_ID / "ckpt")
    compile_model(Workspace(prefix), DEMO_MODEL_ID, CompileOptions(offline=True), lambda _record: None)
    return prefix


@pytest.fixture
def folder(compiled: Path, tmp_path: Path) -> ModelFolder:
    """A copy to damage."""
    shutil.copytree(compiled, tmp_path / "copy")
    return Workspace(tmp_path / "copy").model(DEMO_MODEL_ID)


def _change_config(folder: ModelFolder) -> str:
    path = folder.ckpt / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rms_norm_eps": 2e-6}))
    return "config.json changed"


def _empty_config(folder: ModelFolder) -> str:
    (folder.ckpt / "config.json").write_text("{}")
    return "config.json changed"


def _flip_weight(folder: ModelFolder) -> str:
    path = folder.ckpt / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return "model.safetensors changed"


def _lengthen_weights(folder: ModelFolder) -> str:
    with (folder.ckpt / "model.safetensors").open("ab") as file:
        file.write(b" ")
    return "model.safetensors changed"


def _remove_weights(folder: ModelFolder) -> str:
    (folder.ckpt / "model.safetensors").unlink()
    return "model.safetensors is gone"


def _remove_config(folder: ModelFolder) -> str:
    (folder.ckpt / "config.json").unlink()
    return "config.json is gone"


def _remove_converted(folder: ModelFolder) -> str:
    (folder.ckpt / "hyperdex_model.bin").unlink()
    return "hyperdex_model.bin is gone"


def _break_config(folder: ModelFolder) -> str:
    (folder.ckpt / "config.json").write_text("{")
    return "config.json is not valid JSON"


@pytest.mark.parametrize(
    "change",
    [
        _change_config,
        _empty_config,
        _flip_weight,
        _lengthen_weights,
        _remove_weights,
        _remove_config,
        _remove_converted,
        _break_config,
    ],
)
def test_a_changed_checkpoint_is_stale_and_so_are_its_builds_for_every_reader(
    folder: ModelFolder, change: object
) -> None:
    assert callable(change)
    reason = change(folder)
    assert checkpoint_state(folder).stale.startswith(reason)
    assert stale_build(folder, BUILD).startswith(reason)
    state = inspect_model(folder)
    assert state.stale.startswith(reason) and state.builds[0].stale == stale_build(folder, BUILD)
    assert read_model(folder).builds[0].stale == state.builds[0].stale


def test_what_was_not_changed_is_not_stale(folder: ModelFolder) -> None:
    assert (checkpoint_state(folder).stale, stale_build(folder, BUILD)) == ("", "")
    for file in folder.ckpt.iterdir():
        os.utime(file, ns=(1, 1))
    assert (checkpoint_state(folder).stale, stale_build(folder, BUILD)) == ("", "")


def test_small_files_make_the_program_stale_and_not_the_checkpoint(folder: ModelFolder) -> None:
    config = folder.ckpt / "config.json"
    original = config.read_bytes()
    config.write_text(json.dumps(json.loads(original), indent=7, sort_keys=True))
    assert (checkpoint_state(folder).stale, stale_build(folder, BUILD)) == ("", "config.json changed")
    config.write_bytes(original)
    tokenizer = folder.ckpt / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes() + b" ")
    assert (checkpoint_state(folder).stale, stale_build(folder, BUILD)) == ("", "tokenizer.json changed")
    tokenizer.unlink()
    assert stale_build(folder, BUILD) == "tokenizer.json is gone"


@pytest.mark.parametrize("half", ["param", "inst"])
def test_a_build_with_a_file_gone_or_cut_is_stale(folder: ModelFolder, half: str) -> None:
    place = getattr(folder, half)(BUILD)
    for file in (each for each in place.iterdir() if each.name != "manifest.json"):
        content = file.read_bytes()
        os.truncate(file, len(content) - 1)
        assert f"{file.name} has {len(content) - 1} bytes" in stale_build(folder, BUILD)
        file.unlink()
        assert f"{file.name} cannot be read: it is missing" in stale_build(folder, BUILD)
        file.write_bytes(content)
        assert stale_build(folder, BUILD) == ""


def test_a_build_without_one_half_or_with_another_s_is_stale(folder: ModelFolder) -> None:
    manifest = folder.param(BUILD) / "manifest.json"
    content = manifest.read_text()
    fingerprint = json.loads(content)["fingerprint"]
    manifest.write_bytes(sealed({**json.loads(content), "fingerprint": "a" * len(fingerprint)}))
    assert stale_build(folder, BUILD) == "the program belongs to other parameters"
    manifest.write_text("[]")
    assert "manifest.json" in stale_build(folder, BUILD)
    shutil.rmtree(folder.inst(BUILD))
    manifest.write_text(content)
    assert stale_build(folder, BUILD) == "no program"
    shutil.rmtree(folder.param(BUILD))
    assert stale_build(folder, BUILD) == "no parameters"


def test_a_checkpoint_that_was_converted_again_leaves_its_builds_behind(folder: ModelFolder) -> None:
    path = folder.ckpt / "hyperdex_config.json"
    path.write_text(path.read_text().replace(json.loads(path.read_text())["fingerprint"], "b" * 64))
    assert stale_build(folder, BUILD) == "the checkpoint was converted again since"
