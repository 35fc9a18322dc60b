"""The fast path does what stepping does, bit for bit: values, caches, registers, faults."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
import pytest

from compiler.artifacts.reader import Build, open_build
from compiler.demo import DEMO_MODEL_ID, install_demo
from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32
from compiler.emulator.bound import BoundPlan
from compiler.emulator.fast import BLOCK_LANES
from compiler.emulator.kernel import Kernel
from compiler.emulator.machine import Machine
from compiler.emulator.session import SamplingParameters, Session
from compiler.errors import MachineFault
from compiler.isa.encode import decode_program, encode_program
from compiler.pipeline import CompileOptions, compile_model
from compiler.workspace import Workspace

PROMPT = tuple(range(3, 3 + 70))  # more than a block


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A prefix with the demo model's checkpoint."""
    workspace = Workspace(tmp_path_factory.mktemp("prefix"))
    install_demo(workspace.model(DEMO_MODEL_ID).ckpt)
    return workspace


def compiled(workspace: Workspace, num_devices: int, dtype: str) -> Build:
    """A build of the demo model."""
    options = CompileOptions(num_devices=num_devices, dtype=dtype, offline=True)
    name = compile_model(workspace, DEMO_MODEL_ID, options, lambda _record: None)
    folder = workspace.model(DEMO_MODEL_ID)
    return open_build(folder.param(name), folder.inst(name))


def bits(values: np.ndarray) -> bytes:
    """Float32 values as bytes; which of the NaNs an operation gives is not specified, so that all are one here."""
    return np.where(np.isnan(values), np.float32(np.nan), values).tobytes()


def everything(machine: Machine) -> dict[str, object]:
    """All that a program can change."""
    state = machine.state
    caches = [region.name for region in machine.build.memory_map.regions if region.kind in ("key", "value")]
    return {
        "lmu": [bits(np.where(state.written, lmu, 0)) for lmu in state.lmu],
        "written": state.written.tobytes(),
        "caches": [bits(state.memory.cache(name).values) for name in caches],
        "tokens": [state.memory.cache(name).written.tobytes() for name in caches],
        "registers": machine.registers,
        "pc": machine.pc,
        "steps": machine.steps,
        "halted": machine.halted,
        "streams": [stream is None for stream in state.streams],
    }


def keep(rows: list[bytes], logits: np.ndarray, _index: int) -> None:
    """An observer of samples."""
    rows.append(logits.tobytes())


def differing(a: dict[str, object], b: dict[str, object]) -> list[str]:
    """Names of what is not the same."""
    return [name for name, value in a.items() if b[name] != value]


@pytest.mark.parametrize(("num_devices", "dtype"), [(1, "float16"), (2, "bfloat16"), (3, "float32")])
def test_a_generation_is_the_same_by_plans_and_by_steps(demo: Workspace, num_devices: int, dtype: str) -> None:
    build = compiled(demo, num_devices, dtype)
    outcomes = []
    for fast in (True, False):
        machine = Machine(build, fast=fast)
        rows: list[bytes] = []
        session = Session(machine)
        for parameters in (SamplingParameters(), SamplingParameters(do_sample=True, top_k=9, seed=3)):
            steps = session.generate(PROMPT, 6, parameters, (), partial(keep, rows))
            tokens = [step.token_id for step in steps]
        outcomes.append({**everything(machine), "tokens": tokens, "logits": rows})
    assert differing(*outcomes) == []


def test_a_prompt_runs_as_blocks(demo: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    lanes: list[int] = []
    run = BoundPlan.run
    monkeypatch.setattr(BoundPlan, "run", lambda self, registers: lanes.append(len(registers)) or run(self, registers))
    list(Session(Machine(compiled(demo, 1, "float16"))).generate(PROMPT, 2, stop_ids=()))
    assert lanes[:3] == [BLOCK_LANES, len(PROMPT) - BLOCK_LANES, 1]  # the last one goes on alone, to be sampled
    assert lanes[3:] == [1, 1]  # so does the next token, through both plans


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_state_behind_a_short_prompt_is_that_of_steps(demo: Workspace, count: int) -> None:
    build = compiled(demo, 1, "float16")
    found = []
    for fast in (True, False):
        session = Session(Machine(build, fast=fast))
        session.start(PROMPT[:count], 2, stop_ids=())
        session.machine.run(100_000, until_output=True)
        found.append(everything(session.machine))
    assert differing(*found) == []


def test_breakpoints_and_conditions_see_every_instruction(demo: Workspace) -> None:
    session = Session(Machine(compiled(demo, 1, "float16")))
    session.start(PROMPT, 2, stop_ids=())
    machine = session.machine
    seen: list[int] = []
    machine.run(200, until=lambda state: seen.append(state.pc) is not None)
    assert len(seen) == 200
    machine.breakpoints = {machine.find(mnemonic="softmax")[0]}
    machine.run(10_000)
    assert machine.pc in machine.breakpoints


def random_program(rng: np.random.Generator, regions: dict[str, int], devices: int) -> str:
    """Straight text that uses addresses, streams and caches at random; it may well fault."""
    lines = [f"li r1, {rng.integers(0, 4)}", f"li r2, {rng.integers(1, 5)}", "li r3, 1"]
    lines += [f"li r4, {rng.integers(32, 34)}", f"li r5, {rng.integers(32, 36)}"]
    w, b, k, v, e = (regions[name] for name in ("w", "b", "key", "value", "e"))

    def at(count: int) -> int:
        return int(rng.integers(0, 20)) * 16 if rng.random() < 0.97 else 4096 - count + 1

    def exchange(tag: int) -> list[str]:
        return [f"tx v[{at(16)}], 16, {tag}", f"rx v[{at(16 * devices)}], 16, {devices}, {tag}"]

    tags = iter(range(1, 100))
    for _ in range(int(rng.integers(8, 40))):
        lines += {
            0: lambda: [f"vadd v[{at(48)}], v[{at(48)}], v[{at(48)}], 48"],
            1: lambda: [f"vmul v[{at(16)}], v[{at(16)}], v[{at(16)}], 16"],
            2: lambda: [f"vscale v[{at(64)}], v[{at(64)}], 64, 0.5, length_reg=r2"],
            3: lambda: [f"softmax v[{at(64)}], v[{at(64)}], 64, 0.25, length_reg=r2"],
            4: lambda: [f"rd.param s7, h[{b:#x}], 48, 1, 1", f"rmsnorm v[{at(48)}], v[{at(48)}], 48, 1e-5, weight=s7"],
            5: lambda: [f"rd.param s1, h[{w:#x}], 48, 40, 40", f"mm v[{at(48)}], v[{at(40)}], s1, 48, 40"],
            6: lambda: [
                f"rd.param s2, h[{w:#x}], 48, 40, 40",
                f"rd.param s3, h[{b:#x}], 48, 1, 1",
                f"mm v[{at(48)}], v[{at(40)}], s2, 48, 40, bias=s3",
            ],
            7: lambda: [f"wr.key h[{k:#x}], r1, 2, 32, 32, h[{regions['key_step']:#x}], src=v[{at(64)}]"],
            8: lambda: [f"wr.value h[{v:#x}], r1, 2, 32, 64, h[{regions['value_step']:#x}], src=v[{at(64)}]"],
            9: lambda: [
                f"rd.kv s4, h[{k:#x}], 64, 32, 32, rows_reg=r2",
                f"mm v[{at(64)}], v[{at(32)}], s4, 64, 32, rows_reg=r2",
            ],
            10: lambda: [
                f"rd.kv s5, h[{v:#x}], 32, 64, 64, cols_reg=r2",
                f"mm v[{at(32)}], v[{at(64)}], s5, 32, 64, cols_reg=r2",
            ],
            11: lambda: exchange(next(tags)),
            12: lambda: [f"rd.embed v[{at(40)}], h[{e:#x}], r3, 40, 5"],
            13: lambda: [f"addi r1, r1, {rng.integers(0, 2)}"] if rng.random() < 0.2 else [],
            14: lambda: [f"wr.key h[{k:#x}], r4, 2, 32, 32, h[{regions['key_step']:#x}], src=v[{at(64)}]"],
            15: lambda: [
                f"rd.kv s6, h[{k:#x}], 8, 32, 32, rows_reg=r5, last=1",
                f"mm v[{at(64)}], v[{at(32)}], s6, 8, 32, rows_reg=r5, last=1",
            ],
            16: lambda: [f"vscale v[{at(40)}], v[{at(40)}], 40, 0.5, length_reg=r5, last=1"],
        }[int(rng.integers(0, 17))]()
    for place, line in [*enumerate(lines)][::-1]:
        if line.startswith("rx ") and rng.random() < 0.5:  # others run, and send, before what was sent is received
            lines.insert(int(rng.integers(place, len(lines))), lines.pop(place))
    return "\n".join([*lines, "hlt", ""])


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_end_alike(new_bench, put, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dtype = (FLOAT16, BFLOAT16, FLOAT32)[seed % 3]
    bench = new_bench(dtype, num_devices=1 + seed % 2)
    named = {
        "w": bench.matrix("w", rng.standard_normal((48, 40)).astype(np.float32)),
        "b": bench.matrix("b", rng.standard_normal((48, 1)).astype(np.float32)),
        "e": bench.embedding("e", rng.standard_normal((5, 40)).astype(np.float32)),
        "key": bench.cache("key", "key", 2, 32),
        "value": bench.cache("value", "value", 2, 32),
    }
    regions = {name: region.begin for name, region in named.items()}
    regions |= {f"{name}_step": named[name].head_bytes for name in ("key", "value")}
    build = bench.build(random_program(rng, regions, bench.num_devices))
    initial = bench.rounded(rng.standard_normal(384))
    outcomes = []
    for fast in (True, False):
        machine = Machine(build, fast=fast)
        put(machine, 0, initial[: 384 if seed % 4 else 200])
        try:
            machine.run(1000)
            fault = ""
        except MachineFault as error:
            fault = str(error)
        outcomes.append({**everything(machine), "fault": fault})
    assert differing(*outcomes) == []


def test_rewriting_a_token_of_a_cache_is_stepped_through(new_bench, put) -> None:
    bench = new_bench(FLOAT32)
    keys = bench.cache("k", "key", 1, 8)
    write = f"wr.key h[{keys.begin:#x}], r1, 1, 8, 8, h[0x0], src=v[0]\n"
    other = f"vscale v[0], v[0], 8, 2.0\nvscale v[8], v[0], 8, 2.0\nvscale v[16], v[0], 8, 2.0\n{write}"
    machine = bench.machine(f"{write}{other}{other}hlt\n")
    put(machine, 0, range(8))
    machine.run(100)
    assert machine.state.memory.peek(0, *keys.place(0, 0, 4), 8).tolist() == [4.0 * value for value in range(8)]


@pytest.mark.parametrize(("threads", "place"), [(1, 0), (3, 0), (3, 2)])
@pytest.mark.parametrize("is_after", [True, False], ids=["after its tape", "before its tape"])
def test_a_plan_that_a_signal_ends_has_not_happened_and_the_run_can_go_on(
    demo: Workspace, monkeypatch: pytest.MonkeyPatch, threads: int, place: int, is_after: bool
) -> None:
    pytest.importorskip("llvmlite")
    kernel = Kernel(threads=threads, eager=True)
    code = kernel.tape_code(FLOAT32)
    assert code is not None
    calls, outcomes = count(1), []

    def interrupted(*given: int) -> int:
        is_it = given[4] == place and next(calls) == 4
        found = 0 if is_it and not is_after else code.run(*given)
        if is_it:
            raise KeyboardInterrupt
        return found

    build = compiled(demo, 1, "float32")
    for run in (code.run, interrupted):
        monkeypatch.setattr(kernel, "tape_code", lambda _dtype, run=run: code._replace(run=run))
        machine = Machine(build, kernel=kernel)
        with suppress(KeyboardInterrupt):
            list(Session(machine).generate(PROMPT[:5], 3))
        stepped = Machine(build, fast=False)
        Session(stepped).start(PROMPT[:5], 3)
        for _ in range(machine.steps):
            stepped.step()
        assert differing(everything(machine), everything(stepped)) == []
        machine.run(1 << 20)
        outcomes.append(everything(machine))
    assert next(calls) > 5
    assert differing(*outcomes) == []


@pytest.mark.parametrize("mnemonic", ["wr.key", "wr.value"])
def test_a_token_of_another_length_than_its_stream_faults_as_in_a_step(demo: Workspace, mnemonic: str) -> None:
    build = copy.copy(compiled(demo, 1, "float32"))
    program = decode_program(build.program_words.astype("<i4").tobytes())
    pc = next(index for index, instr in enumerate(program) if instr.mnemonic == mnemonic)
    place = [operand.name for operand in program[pc].spec.operands].index("heads")
    values = program[pc].values
    program[pc] = replace(program[pc], values=(*values[:place], 1, *values[place + 1 :]))
    build.program_words = np.frombuffer(encode_program(program), "<i4").reshape(-1, 8)
    faults = []
    for fast in (True, False):
        with pytest.raises(MachineFault, match=rf"pc {pc} after .*: {mnemonic} .* elements, expected") as caught:
            list(Session(Machine(build, fast=fast)).generate((5, 6, 7), 2))
        faults.append(str(caught.value))
    assert faults[0] == faults[1]
