"""Of a text beyond its window the last tokens are streamed: as single steps do it, and as all tokens with a mask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.artifacts.reader import Build, open_build
from compiler.demo import DEMO_MODEL_ID, install_demo
from compiler.dtypes import FLOAT32
from compiler.emulator.kernel import Kernel
from compiler.emulator.machine import Machine
from compiler.emulator.session import Session
from compiler.emulator.views import inputs, outputs
from compiler.errors import MachineFault
from compiler.isa.spec import TOKEN_UNIT, first_token
from compiler.pipeline import CompileOptions, compile_model
from compiler.workspace import Workspace
from tests.emulator.conftest import MAX_LENGTH, Bench
from tests.emulator.test_plans import differing, everything

HEAD_DIM = 16
MOST = 35
"""Tokens that are seen at most in programs by hand; a window of 4."""


def windowed(folder: Path, window: int, num_devices: int, dtype: str) -> Build:
    """The demo model with a window."""
    workspace = Workspace(folder)
    model = workspace.model(DEMO_MODEL_ID)
    install_demo(model.ckpt)
    config = json.loads((model.ckpt / "config.json").read_text())
    config |= {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": window}
    (model.ckpt / "config.json").write_text(json.dumps(config))
    options = CompileOptions(num_devices=num_devices, dtype=dtype, offline=True)
    name = compile_model(workspace, DEMO_MODEL_ID, options, lambda _record: None)
    return open_build(model.param(name), model.inst(name))


@pytest.mark.parametrize(
    ("window", "num_devices", "dtype", "prompt"),
    [(40, 1, "float16", 150), (1, 2, "float32", 70), (33, 3, "bfloat16", 127), (65, 2, "float16", 97)],
)
def test_every_state_between_plans_is_that_of_steps(
    tmp_path: Path, window: int, num_devices: int, dtype: str, prompt: int
) -> None:
    """Prompt blocks of 64 lanes reach over the window's edge; later lanes of one may see fewer tokens than earlier."""
    build = windowed(tmp_path, window, num_devices, dtype)
    fast, stepped = Machine(build), Machine(build, fast=False)
    tokens = [3 + index % 700 for index in range(prompt)]
    for machine in (fast, stepped):
        Session(machine).start(tokens, 4, stop_ids=())
    compared = 0

    def compare() -> bool:
        nonlocal compared
        while stepped.steps < fast.steps:
            stepped.step()
        assert differing(everything(fast), everything(stepped)) == []
        compared += 1
        return False

    fast.run(1 << 20, interrupted=compare)
    assert fast.halted and compared > 10


def attending(bench: Bench, tokens: int, written: range, most: int, tail: str, extra: str = "") -> Build:
    """Tokens are written, of which token t is v[32 t ..], and seen by the query v[4000] through a window of 4.

    Scores come to v[4096], scaled to v[4224], weights to v[4352], their sum to v[4480].
    """
    bench.lmu_elements = 1 << 13
    key, value = bench.cache("key", "key", 1, HEAD_DIM), bench.cache("value", "value", 1, HEAD_DIM)
    lines = []
    for token in written:
        source, rest = 32 * token, f"r1, 1, {HEAD_DIM}"
        lines += [
            f"li r1, {token}",
            f"wr.key h[{key.begin:#x}], {rest}, {key.stride}, h[0x0], src=v[{source}]",
            f"wr.value h[{value.begin:#x}], {rest}, {value.stride}, h[0x0], src=v[{source + HEAD_DIM}]",
        ]
    lines += [
        f"li r2, {tokens}",
        f"li r3, {tokens - 4}",
        f"rd.kv s1, h[{key.begin:#x}], {most}, {HEAD_DIM}, {key.stride}, rows_reg=r2{tail}",
        f"mm v[4096], v[4000], s1, {most}, {HEAD_DIM}, rows_reg=r2{tail}",
        f"vscale v[4224], v[4096], {most}, 2.0, length_reg=r2{tail}",
        f"softmax v[4352], v[4224], {most}, 0.5, length_reg=r2, first_reg=r3{extra}{tail}",
        f"rd.kv s2, h[{value.begin:#x}], {HEAD_DIM}, {most}, {value.stride}, cols_reg=r2{tail}",
        f"mm v[4480], v[4352], s2, {HEAD_DIM}, {most}, cols_reg=r2{tail}",
    ]
    return bench.build("\n".join([*lines, "hlt", ""]))


@pytest.mark.parametrize("extra", ["", ", extra=v[4020], extras=1", ", extra=v[4020], extras=1, sink=1"])
@pytest.mark.parametrize("tokens", [1, MOST, MOST + 1, 40, MAX_LENGTH - 1, MAX_LENGTH])
def test_the_last_tokens_are_those_of_all_that_a_mask_leaves(new_bench: Any, put: Any, tokens: int, extra: str) -> None:
    initial = np.random.default_rng(tokens).standard_normal(4032)
    first = first_token(tokens, MOST)
    assert first % TOKEN_UNIT == 0 and 0 < tokens - first <= MOST and max(0, tokens - 4) >= first
    results = []
    for most, tail, begin in ((MAX_LENGTH, "", 0), (MOST, ", last=1", first)):
        machine = Machine(attending(new_bench(FLOAT32), tokens, range(begin, tokens), most, tail, extra))
        put(machine, 0, initial)
        machine.run(1000)
        lmu, written = machine.lmu(0)
        ends = [4096 + 128 * place + tokens - begin for place in range(3)]
        assert all(written[end - 1] and not written[end] for end in ends)
        results.append([lmu[end - (tokens - first) : end] for end in ends] + [lmu[4480 : 4480 + HEAD_DIM]])
    for whole, window in zip(*results, strict=True):
        np.testing.assert_allclose(window, whole, rtol=2e-6, atol=1e-7)
    assert results[0][0].tobytes() == results[1][0].tobytes()  # each score is a sum of its own


def test_the_debugger_says_where_the_last_tokens_begin(new_bench: Any, put: Any) -> None:
    machine = Machine(attending(new_bench(FLOAT32), 50, range(50), MOST, ", last=1"))
    put(machine, 0, np.ones(4032, np.float32))
    opened, scored = (machine.find(mnemonic=name)[0] for name in ("rd.kv", "mm"))
    while machine.pc < scored:
        machine.step()
    assert inputs(machine, opened, 0)[0].where.endswith("key head 0 from token 32")
    assert "s1 18 x 16" in [each.where for each in inputs(machine, scored, 0)]
    machine.step()
    assert [each.count for each in outputs(machine, scored, 0)] == [18]


@pytest.mark.parametrize("kernel", [None, Kernel(native=False)], ids=["native", "numpy"])
@pytest.mark.parametrize(
    ("tokens", "written", "message"),
    [(MAX_LENGTH + 1, range(MAX_LENGTH), "outside region"), (50, range(33, 50), "token 32 of key"), (0, range(1), "0")],
)
def test_last_tokens_that_are_not_there_are_a_fault(
    new_bench: Any, put: Any, tokens: int, written: range, message: str, kernel: Kernel | None
) -> None:
    build = attending(new_bench(FLOAT32), tokens, written, MOST, ", last=1")
    faults = []
    for fast in (True, False):
        machine = Machine(build, fast=fast, kernel=kernel)
        put(machine, 0, np.ones(4032, np.float32))
        with pytest.raises(MachineFault, match=message) as caught:
            machine.run(1000)
        faults.append((str(caught.value), everything(machine)))
    assert faults[0] == faults[1]
