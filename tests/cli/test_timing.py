"""What `generate --timing` and `--trace` say of a generation's time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compiler.artifacts.reader import open_build
from compiler.cli.timing import clock_of, save_trace, timing_lines, timing_object
from compiler.demo import DEMO_MODEL_ID, install_demo
from compiler.emulator.machine import Machine
from compiler.pipeline import CompileOptions, compile_model
from compiler.workspace import Workspace

NUM_DEVICES = 2


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """The demo model on two devices."""
    workspace = Workspace(tmp_path_factory.mktemp("prefix"))
    folder = workspace.model(DEMO_MODEL_ID)
    install_demo(folder.ckpt)
    options = CompileOptions(num_devices=NUM_DEVICES, target="lpu-3280")
    build = compile_model(workspace, DEMO_MODEL_ID, options, lambda _record: None)
    return Machine(open_build(folder.param(build), folder.inst(build)))


def test_json_and_lines_tell_the_same_time(machine: Machine) -> None:
    found = timing_object(machine, 5, 20)
    assert found["kind"] == "emulated"
    assert found["tokens_per_s"] == pytest.approx(1e3 / found["ms_per_token"])
    lines = timing_lines(machine, 5, 20)
    assert lines[0].startswith(f"emulated on {NUM_DEVICES} x lpu-3280: {found['ms_per_token']:.4f} ms/token")
    assert any("softmax" in line and "VXE" in line for line in lines)


def test_a_trace_has_a_track_per_unit_a_slice_per_instruction_and_arrows_forward(
    machine: Machine, tmp_path: Path
) -> None:
    save_trace(machine, tmp_path / "trace.json", 7)
    trace = json.loads((tmp_path / "trace.json").read_text())
    events = trace["traceEvents"]
    names = {event["args"]["name"] for event in events if event["ph"] == "M" and event["name"] == "thread_name"}
    assert names == {"SMA", "SXE", "VXE", "ESL", "ICP"}
    slices = [event for event in events if event["ph"] == "X"]
    token = clock_of(machine).token(7, slices=True)
    assert len(slices) == NUM_DEVICES * len(token.slices)
    assert all(event["dur"] >= 0 and {"pid", "tid", "ts", "name", "args"} <= event.keys() for event in slices)
    assert any(event["args"].get("tensor") == "model.layers.0.mlp.down_proj.weight" for event in slices)
    begins = {event["id"]: event["ts"] for event in events if event["ph"] == "s"}
    ends = {event["id"]: event["ts"] for event in events if event["ph"] == "f"}
    assert begins.keys() == ends.keys()
    assert len(begins) > 50
    assert all(begins[name] <= ends[name] + 1e-9 for name in begins)
