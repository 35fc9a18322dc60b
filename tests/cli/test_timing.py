"""What `generate --timing` and `--trace` say of a generation's time."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest

from compiler.artifacts.reader import open_build
from compiler.cli.timing import clock_of, save_trace, timing_lines, timing_object
from compiler.demo import DEMO_MODEL_ID, demo_folder, install_demo
from compiler.emulator.machine import Machine
from compiler.estimate import estimate
from compiler.pipeline import CompileOptions, compile_model
from compiler.workspace import Workspace

NUM_DEVICES = 3


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """The demo model on the three devices of a line."""
    workspace = Workspace(tmp_path_factory.mktemp("prefix"))
    folder = workspace.model(DEMO_MODEL_ID)
    install_demo(folder.ckpt)
    options = CompileOptions(num_devices=NUM_DEVICES, target="lpu-3280", topology="2-lines")
    build = compile_model(workspace, DEMO_MODEL_ID, options, lambda _record: None)
    return Machine(open_build(folder.param(build), folder.inst(build)))


def test_json_and_lines_tell_the_same_time(machine: Machine) -> None:
    found = timing_object(machine, 5, 20)
    assert found["kind"] == "emulated"
    assert found["tokens_per_s"] == pytest.approx(1e3 / found["ms_per_token"])
    lines = timing_lines(machine, 5, 20)
    assert lines[0].startswith(f"emulated on {NUM_DEVICES} x lpu-3280: {found['ms_per_token']:.4f} ms/token")
    assert any("softmax" in line and "VXE" in line for line in lines)
    assert any(line.startswith("  SMA waits: ") for line in lines)


def test_a_build_is_timed_as_it_was_estimated(machine: Machine) -> None:
    """Two implementations, one before and one after the artifacts; within 1 %."""
    config = json.loads((demo_folder() / "config.json").read_text())
    length = machine.build.manifest.max_length
    options = CompileOptions(num_devices=NUM_DEVICES, target="lpu-3280", max_length=length, topology="2-lines")
    found, estimated = timing_object(machine, 5, 20), asdict(estimate(config, options, 5, 20))
    for name in ("ms_per_token", "tokens_per_s", "ttft_ms", "utilization", "joules_per_token"):
        assert found[name] == pytest.approx(estimated[name], rel=0.01), name
    for name in ("target", "num_device", "topology", "binds"):
        assert found[name] == estimated[name]
    assert [position for position, _ in found["ms_at"]] == [position for position, _ in estimated["ms_at"]]


def test_breakdowns_by_op_and_by_layer_share_the_same_cycles(machine: Machine) -> None:
    found = timing_object(machine, 5, 20)
    cycles = [sum(share["cycles"] for share in found[name]) for name in ("ops", "layers")]
    assert cycles[0] == cycles[1] > 0
    assert {share["name"] for share in found["layers"]} >= {"layer 0", "outside", "control"}


@pytest.fixture(scope="module")
def events(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    save_trace(machine, path, 7)
    trace = json.loads(path.read_text())
    assert trace.keys() == {"displayTimeUnit", "otherData", "traceEvents"}
    assert trace["displayTimeUnit"] in ("ms", "ns")
    return list(trace["traceEvents"])


FIELDS = {
    "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"},
    "s": {"name", "cat", "ph", "ts", "pid", "tid", "id"},
    "f": {"name", "cat", "ph", "ts", "pid", "tid", "id", "bp"},
    "M": {"name", "ph", "pid", "tid", "args"},
}
"""Of each phase that is used, as the Trace Event Format documents them."""

METADATA = {"process_name": "name", "thread_name": "name", "thread_sort_index": "sort_index"}


def test_every_event_has_the_documented_fields_of_its_phase_and_time_never_goes_back(
    events: list[dict[str, Any]],
) -> None:
    for event in events:
        assert event.keys() == FIELDS[event["ph"]]
        assert type(event["pid"]) is type(event["tid"]) is int
        assert event.get("dur", 0) >= 0
        assert event.get("bp", "e") == "e"
        if event["ph"] == "M":
            assert event["args"].keys() == {METADATA[event["name"]]}
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    assert times[0] >= 0
    assert [event["ph"] for event in events].index("X") > max(i for i, e in enumerate(events) if e["ph"] == "M")


def test_each_device_is_a_process_and_each_unit_a_named_track(events: list[dict[str, Any]], machine: Machine) -> None:
    named = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    assert {e["pid"] for e in events if e["name"] == "process_name"} == {*range(NUM_DEVICES)}
    for device in range(NUM_DEVICES):
        assert {"SMA", "SXE", "VXE", "ESL", "ICP"} <= {name for (pid, _), name in named.items() if pid == device}
    slices = [event for event in events if event["ph"] == "X"]
    assert len(slices) == NUM_DEVICES * len(clock_of(machine).token(7, slices=True).slices)
    assert {(event["pid"], event["tid"]) for event in slices} <= named.keys()
    assert any(event["args"].get("tensor") == "model.layers.0.mlp.down_proj.weight" for event in slices)
    assert any(event["args"].get("bytes", 0) > 0 for event in slices)
    assert any(event["args"].get("waited for") == "stream" for event in slices)


def _nanoseconds(microseconds: float) -> int:
    """As a viewer counts."""
    return int(microseconds * 1e3)


def test_slices_of_a_track_never_overlap_and_arrows_begin_and_end_inside_slices(events: list[dict[str, Any]]) -> None:
    tracks: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for event in events:
        if event["ph"] == "X":
            tracks.setdefault((event["pid"], event["tid"]), []).append(event)
    for slices in tracks.values():
        slices.sort(key=lambda event: (event["ts"], event["dur"]))
        for before, after in pairwise(slices):
            assert _nanoseconds(before["ts"]) + _nanoseconds(before["dur"]) <= _nanoseconds(after["ts"])
    flows = {phase: {e["id"]: e for e in events if e["ph"] == phase} for phase in "sf"}
    assert flows["s"].keys() == flows["f"].keys()
    assert len(flows["s"]) > 50
    for name, begin in flows["s"].items():
        end = flows["f"][name]
        assert begin["ts"] <= end["ts"]
        assert begin["pid"] == end["pid"]
        assert (begin["tid"], end["bp"]) != (end["tid"], "")
        for point in (begin, end):
            at = _nanoseconds(point["ts"])
            around = [(_nanoseconds(e["ts"]), _nanoseconds(e["dur"])) for e in tracks[point["pid"], point["tid"]]]
            assert any(begins <= at < begins + lasts for begins, lasts in around)
