"""One process per device gives the results of one process with all devices."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.demo import DEMO_MODEL_ID, install_demo
from compiler.emulator.process_link import ProcessLink, world
from compiler.errors import UsageError
from compiler.pipeline import CompileOptions, compile_model
from compiler.workspace import Workspace


def rank(number: int, port: int, *arguments: str) -> subprocess.Popen[str]:
    """One of two processes, started as torchrun does."""
    place = {"RANK": str(number), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "compiler", "generate", DEMO_MODEL_ID, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, **place}, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture
def port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def compiled(prefix: Path) -> tuple[str, ...]:
    """The demo model for two devices, as arguments of `generate`."""
    workspace = Workspace(prefix)
    install_demo(workspace.model(DEMO_MODEL_ID).ckpt)
    build = compile_model(workspace, DEMO_MODEL_ID, CompileOptions(num_devices=2, offline=True), lambda _record: None)
    return ("--prefix", str(prefix), "--build", build)


@pytest.mark.slow
def test_ranks_with_other_arguments_stop_before_the_first_token(tmp_path: Path, port: int) -> None:
    arguments = compiled(tmp_path)
    first = rank(0, port, *arguments, "--prompt-ids", "5,6")
    other = rank(1, port, *arguments, "--prompt-ids", "5,7", "--seed", "1", "--do-sample")
    for process in (first, other):
        out, told = process.communicate(timeout=120)
        assert process.returncode == 2 and not out
        assert "the processes differ in the prompts and the sampling options; start all with the same" in told


@pytest.mark.slow
def test_a_rank_that_waits_for_the_others_says_where_and_can_be_interrupted(tmp_path: Path, port: int) -> None:
    alone = rank(1, port, *compiled(tmp_path), "--prompt-ids", "5,6")
    assert alone.stderr is not None
    assert alone.stderr.readline() == f"[Info] Waiting for the other processes at 127.0.0.1:{port}\n"
    alone.send_signal(signal.SIGINT)
    assert "interrupted by SIGINT" in alone.communicate(timeout=20)[1]
    assert alone.returncode == 130


@pytest.mark.slow
def test_two_ranks_generate_what_two_devices_in_one_process_do(tmp_path: Path) -> None:
    arguments = ["-m", "compiler", "generate", DEMO_MODEL_ID, *compiled(tmp_path)]
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
