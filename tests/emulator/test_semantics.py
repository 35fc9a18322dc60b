"""Each opcode against a plain numpy expectation."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32
from compiler.emulator.arithmetic import dot_rows
from compiler.emulator.machine import Machine
from compiler.emulator.semantics import SEMANTICS
from compiler.isa.host import Word
from compiler.isa.instructions import SPECS
from compiler.isa.tables import ActivationTable

RNG = np.random.default_rng(7)


def normal(bench, *shape):
    return bench.rounded(np.random.default_rng(sum(shape)).standard_normal(shape))


def lmu(machine, at, length, device=0):
    values, written = machine.lmu(device)
    assert written[at : at + length].all()
    return values[at : at + length].copy()


def test_every_instruction_of_the_table_has_semantics():
    assert set(SEMANTICS) == {spec.mnemonic for spec in SPECS}


@pytest.mark.parametrize("mnemonic, function", [("vadd", np.add), ("vmul", np.multiply)])
def test_elementwise_instructions_round_once(bench, mnemonic, function):
    a, b = normal(bench, 37), normal(bench, 38)[:37]
    machine = bench.run(f"{mnemonic} v[300], v[100], v[200], 37", v100=a, v200=b)
    assert np.array_equal(lmu(machine, 300, 37), bench.rounded(function(a, b)))


def test_float16_overflow_becomes_infinity(new_bench):
    machine = new_bench(FLOAT16).run("vadd v[9], v[1], v[1], 1", v1=[60000.0])
    assert lmu(machine, 9, 1)[0] == np.inf


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32], ids=str)
@pytest.mark.parametrize("rows, cols", [(1, 1), (31, 5), (32, 64), (70, 33), (100, 200)])
def test_mm_is_the_row_by_row_dot_product(new_bench, dtype, rows, cols):
    bench = new_bench(dtype)
    matrix, x = normal(bench, rows, cols), normal(bench, cols)
    region = bench.matrix("w", matrix)
    machine = bench.run(
        f"rd.param s1, h[{region.begin:#x}], {rows}, {cols}, {cols}\nmm v[500], v[100], s1, {rows}, {cols}", v100=x
    )
    assert np.array_equal(lmu(machine, 500, rows), bench.rounded(dot_rows(matrix, x)))


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32], ids=str)
def test_mm_does_not_depend_on_how_rows_are_spread(new_bench, dtype):
    cols = 8192 + 100
    x, matrix = RNG.standard_normal(cols).astype(np.float32), RNG.standard_normal((40, cols)).astype(np.float32)
    results = []
    for rows in (1, 5, 40):
        bench = new_bench(dtype)
        bench.lmu_elements = 10000
        bench.matrix("w", matrix[:rows])
        machine = bench.run(f"rd.param s1, h[0x0], {rows}, {cols}, {cols}\nmm v[9000], v[0], s1, {rows}, {cols}", v0=x)
        results.append(lmu(machine, 9000, rows))
    assert results[0][0] == results[1][0] == results[2][0]
    assert np.array_equal(results[1], results[2][:5])


def test_float16_weights_widen_exactly_including_subnormals_and_infinity(new_bench):
    every = np.arange(0x10000, dtype=np.uint16).view(np.float16).astype(np.float32)
    for values in (every[np.isfinite(every)][:63488], every[0x7BF0:0x7C10]):
        bench = new_bench(FLOAT16)
        values = values[~np.isnan(values)]
        bench.lmu_elements = len(values) + 1
        bench.matrix("w", values[:, None])
        machine = bench.run(f"rd.param s1, h[0x0], {len(values)}, 1, 1\nmm v[1], v[0], s1, {len(values)}, 1", v0=[1.0])
        assert np.array_equal(lmu(machine, 1, len(values)), values)


def test_part_of_a_matrix_can_be_streamed(bench):
    matrix, x = normal(bench, 96, 64), normal(bench, 64)
    bench.matrix("w", matrix)
    offset = 64 * bench.dtype.itemsize
    machine = bench.run(f"rd.param s1, h[{offset}], 40, 64, 64\nmm v[100], v[0], s1, 40, 64", v0=x)
    assert np.array_equal(lmu(machine, 100, 40), bench.rounded(dot_rows(matrix[32:72], x)))


def test_mm_epilogue_is_bias_then_rope_then_activation_and_one_rounding(bench):
    heads, head_dim, rotary = 3, 8, 4
    rows, cols = heads * head_dim, 16
    matrix, bias, x, angles = normal(bench, rows, cols), normal(bench, rows, 1), normal(bench, cols), normal(bench, 2)
    cos, sin = bench.rounded(np.cos(angles)), bench.rounded(np.sin(angles))
    relu = ActivationTable(0.0, 1.0, 0.0, 0.0, 1.0, 0.0, np.array([[0, 1, 0, 0]], np.float32))
    bench.tables = (relu,)
    w, b = bench.matrix("w", matrix), bench.matrix("b", bias, "bias")
    machine = bench.run(
        f"rd.param s1, h[{w.begin:#x}], {rows}, {cols}, {cols}\nrd.param s2, h[{b.begin:#x}], {rows}, 1, 1\n"
        f"mm v[200], v[0], s1, {rows}, {cols}, bias=s2, act=t1, rope=v[50], head_dim={head_dim}, rotary_dim={rotary}",
        v0=x,
        v50=np.concatenate((cos, sin)),
    )
    expected = (dot_rows(matrix, x) + bias[:, 0]).reshape(heads, head_dim)
    turned = expected.copy()
    turned[:, 0:2] = expected[:, 0:2] * cos - expected[:, 2:4] * sin
    turned[:, 2:4] = expected[:, 2:4] * cos + expected[:, 0:2] * sin
    assert np.array_equal(lmu(machine, 200, rows), bench.rounded(np.maximum(turned, 0).reshape(-1)))


def test_interleaved_rotation_pairs_neighbours(bench):
    x = normal(bench, 12)
    cos, sin = bench.rounded([0.5, 0.25]), bench.rounded([0.75, -0.125])
    machine = bench.run("vrope v[20], v[0], v[50], 12, 6, 4, style=1", v0=x, v50=np.concatenate((cos, sin)))
    heads = x.reshape(2, 6)
    expected = heads.copy()
    for pair in (0, 1):
        a, b = heads[:, 2 * pair], heads[:, 2 * pair + 1]
        expected[:, 2 * pair] = a * cos[pair] - b * sin[pair]
        expected[:, 2 * pair + 1] = b * cos[pair] + a * sin[pair]
    assert np.array_equal(lmu(machine, 20, 12), bench.rounded(expected.reshape(-1)))


def test_vbias_vscale_and_vact(bench):
    x, shift = normal(bench, 40), normal(bench, 40, 1)
    bench.tables = (ActivationTable(-2.0, 2.0, 0.0, -1.0, 0.0, 1.0, np.array([[-1, 0.5, 0, 0]], np.float32)),)
    region = bench.matrix("b", shift, "bias")
    machine = bench.run(
        f"rd.param s3, h[{region.begin:#x}], 40, 1, 1\nvbias v[100], v[0], s3, 40\n"
        "vscale v[200], v[0], 40, 0.3\nli r4, 7\nvscale v[300], v[0], 40, 2.0, length_reg=r4\n"
        "vact v[400], v[0], 40, act=t1",
        v0=x,
    )
    assert np.array_equal(lmu(machine, 100, 40), bench.rounded(x + shift[:, 0]))
    assert np.array_equal(lmu(machine, 200, 40), bench.rounded(x * np.float32(0.3)))
    assert np.array_equal(lmu(machine, 300, 7), bench.rounded(x[:7] * np.float32(2)))
    assert not machine.lmu(0)[1][307]
    assert np.array_equal(
        lmu(machine, 400, 40), bench.rounded(np.clip((x + np.float32(2)) * np.float32(0.5) - 1, -1, 1))
    )


@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("fused", [False, True])
def test_norms_follow_their_formula(bench, kind, fused):
    n, eps = 100, 1e-5
    x, y = normal(bench, n), normal(bench, n + 1)[:n]
    weight, bias = normal(bench, n, 1), bench.rounded(normal(bench, n, 1) * 0.5)
    w, b = bench.matrix("w", weight, "norm"), bench.matrix("b", bias, "norm")
    has_bias = kind == "layernorm"
    streams = f"rd.param s1, h[{w.begin:#x}], {n}, 1, 1\n"
    streams += f"rd.param s2, h[{b.begin:#x}], {n}, 1, 1\n" if has_bias else ""
    tail = f"{n}, {eps}, weight=s1" + (", bias=s2" if has_bias else "")
    if fused:
        machine = bench.run(f"{streams}add.{kind} v[900], v[700], v[0], v[200], {tail}", v0=x, v200=y)
        x = bench.rounded(x + y)
        assert np.array_equal(lmu(machine, 700, n), x)
    else:
        machine = bench.run(f"{streams}{kind} v[900], v[0], {tail}", v0=x)
    exact = x.astype(np.float64)
    centred = exact - exact.mean() if has_bias else exact
    expected = centred / np.sqrt((centred**2).mean() + eps) * weight[:, 0] + (bias[:, 0] if has_bias else 0)
    # a float32 mean of 100 terms is good to 1e-6; the rounding of the result to the dtype comes on top
    tolerance = 1e-5 if bench.dtype == FLOAT32 else 2.0**-10
    np.testing.assert_allclose(lmu(machine, 900, n), expected, rtol=tolerance, atol=tolerance)


def test_norm_streams_are_optional(bench):
    x = normal(bench, 8)
    machine = bench.run("rmsnorm v[20], v[0], 8, 0.0", v0=x)
    np.testing.assert_allclose((lmu(machine, 20, 8) ** 2).mean(), 1, rtol=2e-3)


def test_softmax_sums_to_one_and_uses_the_length_register(bench):
    x = normal(bench, 50)
    machine = bench.run("li r3, 20\nsoftmax v[100], v[0], 50, 0.5, length_reg=r3", v0=x)
    powers = np.exp(x[:20].astype(np.float64) * 0.5)
    np.testing.assert_allclose(
        lmu(machine, 100, 20), powers / powers.sum(), rtol=1e-5 if bench.dtype == FLOAT32 else 1e-3
    )


def test_rd_embed_reads_one_row(bench):
    table = normal(bench, 9, 70)
    region = bench.embedding("e", table)
    machine = bench.run(f"li r5, 8\nrd.embed v[10], h[{region.begin:#x}], r5, 70, 9")
    assert np.array_equal(lmu(machine, 10, 70), table[8])


@pytest.mark.parametrize("through_stream", [False, True])
def test_caches_come_back_as_they_were_written(bench, through_stream):
    heads, head_dim, tokens = 2, 40, 35
    identity = bench.matrix("i", np.eye(heads * head_dim, dtype=np.float32))
    keys, values = bench.cache("k", "key", heads, head_dim), bench.cache("v", "value", heads, head_dim)
    size = heads * head_dim
    write = (
        f"rd.param s1, h[{identity.begin:#x}], {size}, {size}, {size}\nmm v[0], v[0], s1, {size}, {size}, out=s2\n"
        if through_stream
        else ""
    )
    via = "stream=s2" if through_stream else "src=v[0]"
    program = ""
    for kind, region, stride in (("key", keys, head_dim), ("value", values, 64)):
        shape = f"{heads}, {head_dim}, {stride}, h[{region.head_bytes:#x}]"
        program += f"{write}wr.{kind} h[{region.begin:#x}], r1, {shape}, {via}\n"
    program += "hlt\n"
    q, p = normal(bench, head_dim), normal(bench, tokens)
    for head in range(heads):
        key, value = keys.begin + head * keys.head_bytes, values.begin + head * values.head_bytes
        program += f"rd.kv s5, h[{key:#x}], 1, {head_dim}, {head_dim}, rows_reg=r2\n"
        program += f"mm v[{500 + 100 * head}], v[200], s5, 1, {head_dim}, rows_reg=r2\n"
        program += f"rd.kv s6, h[{value:#x}], {head_dim}, 1, 64, cols_reg=r2\n"
        program += f"mm v[{700 + 100 * head}], v[300], s6, {head_dim}, 1, cols_reg=r2\n"
    machine = bench.machine(program + "hlt\n")
    history = normal(bench, tokens, size)
    for token in range(tokens):
        machine.state.pc, machine.state.halted = 0, False
        machine.state.lmu[0][:size], machine.state.written[:size] = history[token], True
        machine.state.set_register(1, token)
        machine.run(100)
    machine.state.halted = False
    machine.state.set_register(2, tokens)
    for at, vector in ((200, q), (300, p)):
        machine.state.lmu[0][at : at + len(vector)] = vector
        machine.state.written[at : at + len(vector)] = True
    machine.run(100)
    for head in range(heads):
        lanes = history[:, head * head_dim : (head + 1) * head_dim]
        assert np.array_equal(lmu(machine, 500 + 100 * head, tokens), bench.rounded(dot_rows(lanes, q)))
        columns = np.ascontiguousarray(lanes.T)
        assert np.array_equal(lmu(machine, 700 + 100 * head, head_dim), bench.rounded(dot_rows(columns, p)))


def test_transmit_and_receive_gather_slices_in_device_order(new_bench, put):
    bench = new_bench(FLOAT32, num_devices=3)
    machine = bench.machine("tx v[0], 2, 9\nrx v[10], 2, 3, 9\nhlt\n")
    for device in range(3):
        put(machine, 0, [device, device + 0.5], device)
    machine.run(10)
    for device in range(3):
        assert lmu(machine, 10, 6, device).tolist() == [0, 0.5, 1, 1.5, 2, 2.5]


def test_a_split_matrix_gives_the_same_bits_on_any_number_of_devices(new_bench):
    rng = np.random.default_rng(5)
    matrix, x = rng.standard_normal((96, 50)).astype(np.float32), rng.standard_normal(50).astype(np.float32)
    results = []
    for devices in (1, 2, 3, 4):
        bench = new_bench(FLOAT16, devices)
        rows = 96 // devices
        bench.matrix("w", matrix.reshape(devices, rows, 50))
        machine = bench.run(
            f"rd.param s1, h[0x0], {rows}, 50, 50\nmm v[100], v[0], s1, {rows}, 50\n"
            f"tx v[100], {rows}, 1\nrx v[200], {rows}, {devices}, 1",
            v0=bench.rounded(x),
        )
        results.append(lmu(machine, 200, 96, devices - 1).tobytes())
    assert len(set(results)) == 1


def test_control_instructions(new_bench):
    machine = new_bench().run(
        "li r1, 5\naddi r2, r1, -7\nadd r3, r1, r2\nli r4, 2147483647\naddi r4, r4, 1\nli r0, 9\n"
        "blt r2, r1, @8\nli r9, 1\nbge r1, r1, @10\nli r9, 1\nbeq r0, r0, @12\nli r9, 1\nbne r0, r0, @15\n"
        "jmp @15\nli r9, 1\nli r10, 3"
    )
    registers = machine.registers
    assert registers[:5] == (0, 5, -2, 3, -(1 << 31))
    assert registers[9] == 0
    assert registers[10] == 3


def test_host_words_are_read_and_written(new_bench, layout):
    bench = new_bench()
    machine = bench.machine(
        f"li r1, 1\nrd.host r2, io[{layout.input}], index=r1\naddi r2, r2, 1\nwr.host r2, io[{layout.output}]\n"
        f"wr.host r1, io[{4 * Word.FINISHED}]\nhlt\n"
    )
    machine.host.set_prompt([4, 7])
    machine.run(10)
    assert machine.host.output(0) == 8
    assert machine.host.output(1) == 0xFFFFFFFF
    assert machine.host.word(Word.FINISHED) == 1


def test_memory_can_be_viewed_element_by_element(new_bench):
    bench = new_bench(FLOAT16)
    matrix = normal(bench, 70, 33)
    region, keys = bench.matrix("w", matrix), bench.cache("k", "key", 1, 8)
    machine = bench.run(f"li r1, 5\nwr.key h[{keys.begin:#x}], r1, 1, 8, 8, h[0x0], src=v[0]", v0=range(8))
    place = region.place(69, 20, 2)
    assert machine.state.memory.peek(0, *place, 1)[0] == matrix[69, 20]
    assert machine.state.memory.peek(0, *keys.place(5, 0, 2), 8).tolist() == list(range(8))
    assert machine.state.memory.peek(0, 0, keys.end, 4).size == 0
    assert machine.state.memory.peek(0, 0, region.end - 2, 99).size == 1


def test_more_parameter_files_than_the_soft_limit_can_be_mapped(new_bench):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    bench = new_bench(FLOAT32, num_devices=8)
    bench.matrix("w", np.ones((1, 1), np.float32))
    build = bench.build("hlt\n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))
    try:
        Machine(build).run(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
