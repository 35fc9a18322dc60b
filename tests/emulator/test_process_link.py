"""One process per device gives the results of one process with all devices."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.demo import DEMO_MODEL_ID, install_demo
from compiler.emulator.process_link import ProcessLink, world
from compiler.errors import UsageError
from compiler.pipeline import CompileOptions, compile_model
from compiler.workspace import Workspace


@pytest.mark.slow
def test_two_ranks_generate_what_two_devices_in_one_process_do(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    install_demo(workspace.model(DEMO_MODEL_ID).ckpt)
    build = compile_model(workspace, DEMO_MODEL_ID, CompileOptions(num_devices=2, offline=True), lambda _record: None)
    arguments = ["-m", "compiler", "generate", DEMO_MODEL_ID, "--prefix", str(tmp_path), "--build", build]
    arguments += ["--prompt-ids", "5,6,7,8,9", "--max-new-tokens", "8", "--json", "--logits"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    outputs, logits = [], []
    for index, prefix in enumerate(([], launcher)):
        path = tmp_path / f"logits{index}.npy"
        command = [sys.executable, *prefix, *arguments, str(path)]
        outputs.append(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
        logits.append(path.read_bytes())
    assert json.loads(outputs[0]) == json.loads(outputs[1])
    assert logits[0] == logits[1]


def test_as_many_processes_as_devices_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="3 processes were started, the build is for 2 devices"):
        ProcessLink(2)


@pytest.mark.parametrize(("rank", "size"), [("2", "2"), ("", "2"), ("-1", "2"), ("x", "y")])
def test_contradictory_ranks_are_refused(monkeypatch: pytest.MonkeyPatch, rank: str, size: str) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(UsageError, match="RANK"):
        world()


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert world() == (0, 1)
