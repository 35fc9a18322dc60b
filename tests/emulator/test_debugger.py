"""The debugger changes nothing: however a run is cut into steps, it comes to the same state, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.artifacts.reader import open_build
from compiler.dtypes import FLOAT16, FLOAT32
from compiler.emulator.debugger import Debugger
from compiler.emulator.machine import Machine
from compiler.emulator.session import SamplingParameters
from compiler.emulator.views import hbm_view, lmu_view
from compiler.errors import UsageError
from tests.cli.test_reference import build_demo
from tests.emulator.test_session import bigram, follow

PROMPT = (5, 9, 17, 3, 40)
NEW = 4


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A real program: the bundled model on two devices."""
    folder, name = build_demo(tmp_path_factory.mktemp("demo"), num_devices=2)
    return open_build(folder.param(name), folder.inst(name))


def started(build, fast=True, **options):
    debugger = Debugger(Machine(build, fast=fast), **options)
    debugger.start(PROMPT, NEW, SamplingParameters(do_sample=True, seed=3), stop_ids=())
    return debugger


def fingerprint(debugger):
    """Everything a program can change, as bytes."""
    state = debugger.machine.state
    caches = [
        state.memory.cache(each.name) for each in state.memory.memory_map.regions if each.kind in ("key", "value")
    ]
    return (
        tuple(state.registers),
        state.pc,
        state.halted,
        state.written.tobytes(),
        tuple(np.where(state.written, lmu, 0).tobytes() for lmu in state.lmu),
        tuple(cache.written.tobytes() + cache.values.tobytes() for cache in caches),
        tuple(debugger.tokens),
        debugger.machine.steps,
    )


@pytest.fixture(scope="module")
def uninterrupted(demo):
    debugger = started(demo)
    assert debugger.run().reason == "halted"
    return fingerprint(debugger)


@pytest.mark.parametrize(
    "granularity, count", [("instruction", 7), ("op", 1), ("layer", 1), ("token", 1), ("token", 3)]
)
def test_steps_of_any_size_come_to_the_state_of_one_run(demo, uninterrupted, granularity, count):
    debugger = started(demo)
    while debugger.step(granularity, count).reason != "halted":
        assert debugger.machine.steps < 10_000
    assert fingerprint(debugger) == uninterrupted


@pytest.mark.parametrize(
    "kind, value",
    [("pc", "60"), ("opcode", "softmax"), ("layer", "2"), ("tensor", "layers.1.mlp"), ("nan", ""), ("inf", "")],
)
def test_a_run_through_breakpoints_comes_to_the_state_of_one_run(demo, uninterrupted, kind, value):
    debugger = started(demo)
    debugger.add_breakpoint(kind, value)
    while debugger.run().reason != "halted":
        pass
    assert fingerprint(debugger) == uninterrupted


def test_a_run_that_is_interrupted_everywhere_comes_to_the_same_state(demo, uninterrupted):
    debugger = started(demo, on_progress=lambda: debugger.interrupt())
    stops = []
    while (stopped := debugger.run()).reason != "halted":
        stops.append(stopped.steps)
        debugger.machine.step()
    assert len(stops) > 20
    debugger._take_outputs()
    assert fingerprint(debugger) == uninterrupted


def test_breakpoints_leave_the_fast_path_to_what_lies_between(demo):
    debugger = started(demo)
    debugger.add_breakpoint("pc", "5")  # the head of the token loop: whole tokens may still be plans
    debugger.run()
    assert debugger.machine.last_pc >= 0
    before = debugger.machine.steps
    debugger.machine.last_pc = 0
    debugger.run()
    assert debugger.machine.steps - before > 100
    assert debugger.position == 1


def test_a_breakpoint_stops_before_its_instruction(new_bench, layout):
    machine = bigram(new_bench, layout)
    debugger = Debugger(machine)
    debugger.start([4], 3, stop_ids=())
    point = debugger.add_breakpoint("opcode", "sample")
    for count in range(3):
        stopped = debugger.run()
        assert (stopped.reason, stopped.hits, stopped.tokens) == ("breakpoint", (point.number,), count)
        assert machine.disassemble(stopped.pc).startswith("sample")
    debugger.remove_breakpoint(point.number)
    assert debugger.run().reason == "halted"
    assert [each.token_id for each in debugger.tokens] == follow(4, 3)


def test_a_step_does_not_pass_a_breakpoint(demo):
    debugger = started(demo)
    debugger.step("token")
    debugger.add_breakpoint("layer", "1")
    stopped = debugger.step("token")
    assert (stopped.reason, debugger.machine.build.debug.node_of(stopped.pc).source.layer) == ("breakpoint", 1)


def test_a_layer_step_stops_at_every_layer_and_at_the_next_token(demo):
    debugger = started(demo)
    debugger.step("token")
    layers = []
    for _ in range(demo.manifest.num_layers):
        node = demo.debug.node_of(debugger.step("layer").pc)
        layers.append(node.source.layer)
    assert layers == list(range(demo.manifest.num_layers))
    stopped = debugger.step("layer")
    assert (stopped.position, stopped.pc) == (1, demo.debug.labels["loop"])


def test_an_op_step_ends_behind_the_last_instruction_of_the_op(demo):
    debugger = started(demo)
    nodes = demo.debug.instruction_nodes
    debugger.step("layer", 2)
    for _ in range(12):
        node = nodes[debugger.machine.pc]
        stopped = debugger.step("op")
        assert node not in nodes[stopped.pc :]
        assert nodes[stopped.pc - 1] == node


def test_a_token_step_feeds_one_token(demo):
    debugger = started(demo)
    debugger.step("token")
    assert [debugger.step("token").position for _ in range(5)] == [1, 2, 3, 4, 5]
    assert len(debugger.tokens) == 1


@pytest.mark.parametrize("kind, scale", [("inf", 3e38), ("nan", 3e38)])
def test_the_instruction_that_makes_a_value_no_number_is_found(new_bench, kind, scale):
    bench = new_bench(FLOAT32)
    table = bench.embedding("e", np.arange(1, 33, dtype=np.float32).reshape(1, 32))
    program = f"""
        rd.embed v[0], h[{table.begin:#x}], r0, 32, 1
        vscale v[32], v[0], 32, 2.0
        vscale v[64], v[32], 32, {scale}
        vscale v[96], v[64], 32, -1.0
        vadd v[128], v[64], v[96], 32
        hlt
    """
    debugger = Debugger(bench.machine(program))
    debugger.start([1], 1, stop_ids=())
    point = debugger.add_breakpoint(kind)
    stopped = debugger.run()
    assert (stopped.reason, stopped.hits) == ("breakpoint", (point.number,))
    assert stopped.last_pc == {"inf": 2, "nan": 4}[kind]
    assert (stopped.outputs[0].nans > 0) == (kind == "nan")


def test_what_changed_is_what_the_step_wrote(new_bench, layout):
    machine = bigram(new_bench, layout, devices=2)
    debugger = Debugger(machine)
    debugger.start([4, 9], 2, stop_ids=())
    while not machine.disassemble(machine.pc).startswith("rd.embed"):
        stopped = debugger.step()
    stopped = debugger.step()
    assert stopped.lmu_changed == ((0, 16),)
    assert [each.where for each in stopped.outputs] == ["v[0]"]
    view = lmu_view(machine, debugger.before, 1, 8, 16)
    assert view.written == view.changed == (True,) * 8 + (False,) * 8
    debugger.step()
    assert not any(lmu_view(machine, debugger.before, 1, 8, 16).changed)


def test_values_of_a_region_are_those_that_were_stored(new_bench):
    bench = new_bench(FLOAT16, 2)
    values = np.arange(2 * 40 * 6, dtype=np.float32).reshape(2, 40, 6)
    bench.matrix("w", values)
    table = np.arange(40 * 40, dtype=np.float32).reshape(40, 40)
    bench.embedding("e", table)
    machine = bench.machine("hlt")
    debugger = Debugger(machine)
    view = hbm_view(machine, debugger.before, 1, "w", (0, 30, 2), 5, 9)
    assert np.array_equal(view.rows, values[1, 30:35, 2:6])
    view = hbm_view(machine, debugger.before, 0, "e", (0, 7, 31), 2, 3)
    assert np.array_equal(view.rows, table[7:9, 31:34])
    assert all(all(row) for row in view.known) and not any(any(row) for row in view.changed)


def test_cache_positions_are_marked_when_they_are_written(demo):
    debugger = started(demo)
    debugger.step("token", 3)
    region = next(each.name for each in demo.memory_map.regions if each.kind == "key")
    view = hbm_view(debugger.machine, debugger.before, 0, region, (0, 0, 0), 5, 2)
    assert view.known == ((True, True), (True, True), (False, False), (False, False), (False, False))
    debugger.step("token")
    view = hbm_view(debugger.machine, debugger.before, 0, region, (0, 0, 0), 4, 1)
    assert view.changed == ((False,), (False,), (True,), (False,))


def test_candidates_are_the_most_probable_tokens_and_the_chosen_one_has_its_rank(new_bench, layout):
    logits = {}
    machine = bigram(new_bench, layout)
    debugger = Debugger(machine)
    debugger.start([4], 5, SamplingParameters(do_sample=True, temperature=9.0, seed=1), stop_ids=())
    observe = debugger._observe
    machine.observe_samples(lambda values, index: (logits.update({index: values.copy()}), observe(values, index))[1])
    debugger.run()
    for token in debugger.tokens:
        scores = np.exp(logits[token.index].astype(np.float64))
        probabilities = scores / scores.sum()
        best = np.argsort(-probabilities, kind="stable")[:5]
        assert [each.token_id for each in token.candidates] == best.tolist()
        assert np.allclose([each.probability for each in token.candidates], probabilities[best], rtol=1e-12)
        assert token.rank == (probabilities > probabilities[token.token_id]).sum()


def test_a_fault_leaves_the_machine_at_the_instruction(new_bench):
    debugger = Debugger(new_bench(FLOAT32).machine("vadd v[64], v[0], v[32], 32\nhlt"))
    debugger.start([1], 1, stop_ids=())
    for _ in range(2):
        stopped = debugger.run()
        assert (stopped.reason, stopped.pc, stopped.inputs[0].missing) == ("fault", 0, 32)
        assert "read before it was written" in stopped.detail


@pytest.mark.parametrize(
    "kind, value, message",
    [
        ("pc", "-1", "none of"),
        ("pc", "9" * 30, "none of"),
        ("opcode", "frob", "no opcode"),
        ("opcode", "vbias", "no instruction matches"),
        ("layer", "4", "layer '4' is none of 0 to 3"),
        ("tensor", "", "empty"),
        ("tensor", "\x1b[31m", "no instruction matches"),
        ("what", "1", "no kind of breakpoint"),
    ],
)
def test_breakpoints_on_nothing_are_refused(demo, kind, value, message):
    debugger = started(demo)
    with pytest.raises(UsageError, match=message):
        debugger.add_breakpoint(kind, value)


def test_a_breakpoint_behind_the_last_instruction_is_refused(demo):
    debugger = started(demo)
    end = len(demo.program_words)
    with pytest.raises(UsageError, match=f"none of 0 to {end - 1}"):
        debugger.add_breakpoint("pc", str(end))
    assert debugger.breakpoints == ()


def test_nothing_runs_without_a_prompt(demo):
    debugger = Debugger(Machine(demo))
    for action in (debugger.step, debugger.run):
        with pytest.raises(UsageError, match="no prompt"):
            action()
