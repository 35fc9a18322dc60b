"""Tapes compute what `semantics` computes, bit for bit: every operation, dtype, lane, device and number of threads."""

from __future__ import annotations

import ctypes
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, reject, settings
from hypothesis import strategies as st

from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32, DType
from compiler.emulator.binding import _KNOWN
from compiler.emulator.bound import BoundPlan
from compiler.emulator.kernel import Kernel, default_kernel
from compiler.emulator.machine import Machine
from compiler.emulator.plan import MIN_INSTRUCTIONS, Plan
from compiler.emulator.schedule import Unplannable
from compiler.emulator.tape import FIELDS, HEADER, OPS, ROW_FIELDS
from compiler.emulator.vector_rows import PART_ELEMENTS
from compiler.errors import MachineFault
from compiler.isa.instructions import SPECS
from compiler.isa.tables import ActivationTable
from compiler.rounding import round_to
from tests.emulator.test_plans import differing, everything

pytest.importorskip("llvmlite")
from llvmlite import ir

from compiler.emulator.ir_builder import I64, PTR, Code
from compiler.emulator.tape_ir import BUILDERS

DTYPES = (FLOAT16, BFLOAT16, FLOAT32)
LMU = 512
"""Elements that are written before a program begins."""


def test_every_operation_has_code_and_fits_a_row() -> None:
    assert OPS.keys() == BUILDERS.keys()
    assert max(max(fields.values()) for fields in FIELDS.values()) < ROW_FIELDS
    assert all(min(fields.values()) == len(HEADER) for fields in FIELDS.values())


def test_known_operands_exist() -> None:
    names = {spec.mnemonic: {operand.name for operand in spec.operands} for spec in SPECS}
    assert all(known <= names[mnemonic] for mnemonic, known in _KNOWN.items())


CHOICES = (
    "vadd",
    "vmul",
    "vbias",
    "vscale",
    "vscale-by",
    "vact",
    "vrope",
    "norm",
    "norm-heads",
    "norm-of",
    "add-norm",
    "softmax",
    "softmax-slope",
    "softmax-sink",
    "mm",
    "mm-key",
    "expert",
    "key",
    "value",
    "scores",
    "attend",
    "last-scores",
    "last-attend",
    "last-scale",
    "last-softmax",
    "exchange",
    "embed",
)

TABLE = ActivationTable(
    -2.0, 2.0, 0.0, -1.0, 0.5, 1.0, np.random.default_rng(1).standard_normal((16, 4)).astype(np.float32)
)


class Programs:
    """Instructions over the regions of a bench, drawn at random; some read what is not written."""

    def __init__(self, bench: Any, rng: np.random.Generator) -> None:
        values = rng.standard_normal
        self.w = bench.matrix("w", values((48, 40)).astype(np.float32)).begin
        self.b = bench.matrix("b", values((48, 1)).astype(np.float32), "bias").begin
        self.e = bench.embedding("e", values((5, 40)).astype(np.float32)).begin
        self.experts = bench.matrix("x", values((64, 64)).astype(np.float32)).begin
        self.key, self.value = bench.cache("key", "key", 2, 24), bench.cache("value", "value", 2, 24)
        self.devices = bench.num_devices

    def draw(self, draw: Any) -> str:
        """A program: registers, then a straight piece, then the end."""
        count = draw(st.integers(MIN_INSTRUCTIONS, 14))
        registers = {1: 0, 2: draw(st.integers(1, 20)), 3: 1, 4: draw(st.integers(-1, 2)), 5: 2}
        registers |= {6: draw(st.integers(1, 3)), 7: draw(st.integers(0, 5))}
        registers |= {8: 32, 9: 33, 10: draw(st.integers(31, 36)), 11: draw(st.integers(-1, 34))}
        lines = [f"li r{register}, {value}" for register, value in registers.items()]
        arriving: list[str] = []
        for tag in range(count):
            choices = self.choices(draw, tag + 1)
            lines += choices[draw(st.sampled_from(sorted(choices)))]
            if lines[-1].startswith("rx ") and draw(st.booleans()):
                arriving.append(lines.pop())
            elif arriving and draw(st.booleans()):
                lines.append(arriving.pop(draw(st.integers(0, len(arriving) - 1))))
        return "\n".join([*lines, *arriving, "hlt", ""])

    def choices(self, draw: Any, tag: int) -> dict[str, list[str]]:
        """One example of everything the tape can do."""

        def at(count: int) -> str:
            return f"v[{draw(st.integers(0, (LMU - count) // 16)) * 16}]"

        length = draw(st.sampled_from((16, 24, 48)))
        dst, a, b = at(length), at(length), at(length)
        stream = f"rd.param s9, h[{self.b:#x}], 48, 1, 1"
        norm = draw(st.sampled_from(("layernorm", "rmsnorm")))
        offset = draw(st.sampled_from(("", ", offset=1.0")))
        table = draw(st.sampled_from(("", ", act=t1")))
        style = draw(st.sampled_from((0, 1)))
        rope = f"rope={at(8)}, head_dim=24, rotary_dim=8, style={style}"
        matrix = f"rd.param s1, h[{self.w:#x}], 48, 40, 40"
        stride = self.value.stride
        token = draw(st.sampled_from(("r1", "r3", "r5", "r8", "r9")))
        keep_key = f"h[{self.key.begin:#x}], {token}, 2, 24, 24, h[{self.key.head_bytes:#x}]"
        keep_value = f"h[{self.value.begin:#x}], {token}, 2, 24, {stride}, h[{self.value.head_bytes:#x}]"
        return {
            "vadd": [f"vadd {dst}, {a}, {b}, {length}"],
            "vmul": [f"vmul {dst}, {a}, {b}, {length}"],
            "vbias": [stream, f"vbias {at(48)}, {at(48)}, s9, 48"],
            "vscale": [f"vscale {dst}, {a}, 24, 0.5, length_reg=r2"],
            "vscale-by": [f"vscale {dst}, {a}, {length}, 0.5, by={at(1)}, factors=1"],
            "vact": [f"vact {dst}, {a}, {length}{table}"],
            "vrope": [f"vrope {at(48)}, {at(48)}, {at(8)}, 48, 24, 8, style={style}"],
            "norm": [stream, f"{norm} {at(48)}, {at(48)}, 48, 1e-5, weight=s9{offset}"],
            "norm-heads": [f"{norm} {at(48)}, {at(48)}, 48, 1e-5, heads=2"],
            "norm-of": [f"{norm} {dst}, {a}, {length}, 1e-5, of={at(40)}, of_length=40"],
            "add-norm": [f"add.{norm} {dst}, {at(length)}, {a}, {b}, {length}, 1e-5"],
            "softmax": [f"softmax {at(24)}, {at(24)}, 24, 0.25, length_reg=r2, first_reg=r4"],
            "softmax-slope": [f"softmax {dst}, {a}, {length}, 0.25, extra={at(1)}, extras=1, coarse={style}"],
            "softmax-sink": [f"softmax {dst}, {a}, {length}, 0.25, extra={at(1)}, extras=1, sink=1"],
            "mm": [matrix, stream, f"mm {at(48)}, {at(40)}, s1, 48, 40, bias=s9{table}, {rope}"],
            "mm-key": [matrix, f"mm v[0], {at(40)}, s1, 48, 40, out=s2, {rope}", f"wr.key stream=s2, {keep_key}"],
            "expert": [
                f"rd.param s1, h[{self.experts:#x}], 32, 64, 64, index=r3, step=h[0x0]",
                f"mm {at(32)}, {at(64)}, s1, 32, 64",
            ],
            "key": [f"wr.key src={at(48)}, {keep_key}"],
            "value": [f"wr.value src={at(48)}, {keep_value}"],
            "scores": [
                f"rd.kv s4, h[{self.key.begin:#x}], 3, 24, 24, rows_reg=r6",
                f"mm {at(3)}, {at(24)}, s4, 3, 24, rows_reg=r6",
            ],
            "attend": [
                f"rd.kv s5, h[{self.value.begin:#x}], 24, 3, {stride}, cols_reg=r6",
                f"mm {at(24)}, {at(3)}, s5, 24, 3, cols_reg=r6",
            ],
            "last-scores": [
                f"rd.kv s6, h[{self.key.begin:#x}], 4, 24, 24, rows_reg=r10, last=1",
                f"mm {at(4)}, {at(24)}, s6, 4, 24, rows_reg=r10, last=1",
            ],
            "last-attend": [
                f"rd.kv s7, h[{self.value.begin:#x}], 24, 4, {stride}, cols_reg=r10, last=1",
                f"mm {at(24)}, {at(4)}, s7, 24, 4, cols_reg=r10, last=1",
            ],
            "last-scale": [f"vscale {at(35)}, {at(35)}, 35, 0.5, length_reg=r10, last=1"],
            "last-softmax": [
                f"softmax {at(24)}, {at(24)}, 24, 0.25, length_reg=r10, first_reg=r11, last=1, "
                f"extra={at(1)}, extras={style}, coarse={style}"
            ],
            "exchange": [f"tx {at(16)}, 16, {tag}", f"rx {at(16 * self.devices)}, 16, {self.devices}, {tag}"],
            "embed": [f"rd.embed {at(40)}, h[{self.e:#x}], r7, 40, 5"],
        }


def outcome(build: Any, initial: np.ndarray, fast: bool, kernel: Kernel) -> dict[str, object]:
    """All that a run leaves, and its fault."""
    machine = Machine(build, fast=fast, kernel=kernel)
    for lmu in machine.state.lmu:
        lmu[: len(initial)] = initial
    machine.state.written[: len(initial)] = True
    try:
        machine.run(1000)
        fault = ""
    except MachineFault as error:
        fault = str(error)
    return {**everything(machine), "fault": fault}


@cache
def other_kernels() -> tuple[Kernel, ...]:
    """More threads than there is work for, and none of LLVM."""
    return Kernel(threads=3, eager=True), Kernel(native=False)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)
@given(data=st.data())
def test_a_tape_ends_like_single_steps(new_bench: Any, dtype: DType, data: Any) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 16)))
    bench = new_bench(dtype, num_devices=data.draw(st.integers(1, 3)))
    bench.tables = (TABLE,)
    build = bench.build(Programs(bench, rng).draw(data.draw))
    initial = bench.rounded(rng.standard_normal(LMU) * data.draw(st.sampled_from((1.0, 30.0, 3e4))))
    stepped = outcome(build, initial, False, default_kernel())
    for kernel in (default_kernel(), *other_kernels()):
        assert differing(stepped, outcome(build, initial, True, kernel)) == []


@pytest.mark.parametrize("head_dim", [32, 48])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_long_result_in_parts_is_that_of_a_step(new_bench: Any, dtype: DType, head_dim: int) -> None:
    rows = 3360
    assert rows > math.lcm(PART_ELEMENTS, head_dim)
    rng = np.random.default_rng(head_dim)
    bench = new_bench(dtype)
    bench.tables = (TABLE,)
    w = bench.matrix("w", rng.standard_normal((rows, 16)).astype(np.float32)).begin
    b = bench.matrix("b", rng.standard_normal((rows, 1)).astype(np.float32), "bias").begin
    rope = f"rope=v[16], head_dim={head_dim}, rotary_dim=8, style=1"
    lines = (
        f"rd.param s1, h[{w:#x}], {rows}, 16, 16",
        f"rd.param s9, h[{b:#x}], {rows}, 1, 1",
        f"mm v[64], v[0], s1, {rows}, 16, bias=s9, act=t1, {rope}",
        f"vadd v[64], v[64], v[64], {rows}",
        "hlt",
        "",
    )
    build = bench.build("\n".join(lines))
    initial = bench.rounded(rng.standard_normal(64))
    stepped = outcome(build, initial, False, default_kernel())
    assert stepped["fault"] == ""
    for kernel in (default_kernel(), *other_kernels()):
        assert differing(stepped, outcome(build, initial, True, kernel)) == []


@pytest.mark.parametrize(("tokens", "first"), [(50, -(1 << 31)), (50, -5), (50, 49), ((1 << 25) + 50, 0)])
def test_scores_of_tokens_of_any_number_are_those_of_a_step(new_bench: Any, tokens: int, first: int) -> None:
    """A register holds more than a text has: none of it wraps, and slopes see each token's nearest float32."""
    bench = new_bench(FLOAT32)
    scores = "softmax v[64], v[0], 35, 0.25, length_reg=r1, first_reg=r2, last=1, extra=v[48], extras=1"
    sums = [f"vadd v[{at}], v[0], v[0], 16" for at in range(128, 128 + 16 * MIN_INSTRUCTIONS, 16)]
    build = bench.build("\n".join([f"li r1, {tokens}", f"li r2, {first}", scores, *sums, "hlt", ""]))
    initial = bench.rounded(np.random.default_rng(1).standard_normal(LMU) * 1e-7)
    stepped = outcome(build, initial, False, default_kernel())
    assert stepped["fault"] == ""
    for kernel in (default_kernel(), *other_kernels()):
        assert differing(stepped, outcome(build, initial, True, kernel)) == []


@pytest.mark.parametrize("name", CHOICES)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_everything_known_runs_in_one_call(new_bench: Any, name: str, data: Any) -> None:
    bench = new_bench(FLOAT16, num_devices=2)
    bench.tables = (TABLE,)
    lines = Programs(bench, np.random.default_rng(0)).choices(data.draw, 1)[name]
    machine = bench.machine("\n".join([*lines, "hlt", ""]))
    try:
        plan = Plan(machine.program, 0, len(lines), machine.state)
    except Unplannable:
        reject()  # two destinations of one instruction overlap
    assert len(BoundPlan(plan, machine.state, 1).calls) == 1


def test_the_choices_are_these(new_bench: Any) -> None:
    programs = Programs(new_bench(FLOAT16), np.random.default_rng(0))
    assert tuple(programs.choices(lambda strategy: find(strategy, lambda _: True), 1)) == CHOICES


def test_float16_rounds_alike_with_and_without_the_instruction() -> None:
    llvm = pytest.importorskip("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = conversion_module()
    module = llvm.parse_assembly(text)
    machine = llvm.Target.from_default_triple().create_target_machine()
    with llvm.create_mcjit_compiler(module, machine) as engine:
        engine.finalize_object()
        convert = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(engine.get_function_address("convert"))
        bits = np.random.default_rng(2).integers(0, 1 << 32, 1 << 18, dtype=np.uint64).astype(np.uint32)
        halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
        between = halves.view(np.uint32)[:, None] + np.array([0, 1, 0x0FFF, 0x1000, 0x1001], np.uint32)
        values = np.concatenate((bits, between.reshape(-1))).view(np.float32)
        values = values[~np.isnan(values)]
        expected = round_to(values, FLOAT16)
        convert(values.ctypes.data, len(values))
        assert values.tobytes() == expected.tobytes()


def conversion_module() -> str:
    """void convert(float *values, int64 count): rounds them to float16 with integers."""
    module = ir.Module()
    code = Code(module, "convert", ir.VoidType(), (PTR, I64))
    values, count = code.arguments
    code.groups(count, lambda g, _: g.store(values, code.rounded(g.load(values), FLOAT16, False)))
    code.b.ret_void()
    return str(module)
