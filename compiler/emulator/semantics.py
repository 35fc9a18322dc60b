"""What each instruction does: one function per opcode.

A function gets the state and the operands by name, reads its sources, checks
its destination, computes in float32 and writes. It raises Trap when the state
is not what the instruction needs. Control instructions set `state.pc`, which
already points at the next instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from compiler.emulator.arithmetic import Vector, linear_bias, rotate, softmax
from compiler.emulator.arithmetic import layernorm as _layernorm
from compiler.emulator.arithmetic import rmsnorm as _rmsnorm
from compiler.emulator.sampling import Sampler
from compiler.emulator.state import EngineVector, State
from compiler.emulator.trap import Trap

Operands = Any
"""A SimpleNamespace with one int or float per operand of the instruction's row in `isa.instructions`."""

Semantics = Callable[[State, SimpleNamespace], None]


# MEM


def rd_embed(state: State, o: Operands) -> None:
    state.check_write(o.dst, o.length)
    index = state.registers[o.index]
    state.write(o.dst, state.memory.read_embedding(o.hbm, index, o.length, o.rows))


def rd_param(state: State, o: Operands) -> None:
    address = o.hbm + state.registers[o.index] * o.step
    state.open_stream(o.stream, state.memory.open_parameters(address, o.rows, o.cols, o.stride))


def rd_kv(state: State, o: Operands) -> None:
    rows, cols = state.extent(o.rows, o.rows_reg, o.last), state.extent(o.cols, o.cols_reg, o.last)
    row, col = state.first(o.rows, o.rows_reg, o.last), state.first(o.cols, o.cols_reg, o.last)
    state.open_stream(o.stream, state.memory.open_cache(o.hbm, rows, cols, o.stride, row, col))


def wr_key(state: State, o: Operands) -> None:
    _write_cache(state, o, "key")


def wr_value(state: State, o: Operands) -> None:
    _write_cache(state, o, "value")


def _write_cache(state: State, o: Operands, kind: str) -> None:
    length = o.heads * o.head_dim
    vectors = state.take_engine_vector(o.stream, length) if o.stream else state.read(o.src, length)
    at = state.registers[o.at]
    state.memory.write_cache(kind, o.hbm, at, vectors, o.heads, o.stride, o.head_stride)


def rd_host(state: State, o: Operands) -> None:
    state.set_register(o.dst, state.host.device_read(o.io + 4 * state.registers[o.index]))


def wr_host(state: State, o: Operands) -> None:
    state.host.device_write(o.io + 4 * state.registers[o.index], state.registers[o.src])


# COMP, SXE


def mm(state: State, o: Operands) -> None:
    rows, cols = state.extent(o.rows, o.rows_reg, o.last), state.extent(o.cols, o.cols_reg, o.last)
    sources = state.read(o.src, cols)
    if not o.out:
        state.check_write(o.dst, rows)
    matrix = state.take_matrix(o.stream, rows, cols)
    biases = state.take_vector(o.bias, rows)
    ropes = _rope_source(state, o, rows) if o.rotary_dim else None
    state.activation(o.act)
    results = [
        finish_product(
            state,
            o,
            matrix.times(device, source),
            biases[device] if biases is not None else None,
            ropes[device] if ropes is not None else None,
        )
        for device, source in enumerate(sources)
    ]
    if o.out:
        state.open_stream(o.out, EngineVector([state.rounded(result) for result in results]))
    else:
        state.write(o.dst, results)


def finish_product(state: State, o: Operands, product: Vector, bias: Vector | None, rope: Vector | None) -> Vector:
    """What mm does behind the product, [..., rows]: bias, rotation, activation; unrounded."""
    if bias is not None:
        product = product + bias
    if rope is not None:
        product = rotate(product, rope, o.head_dim, o.rotary_dim, o.style)
    table = state.activation(o.act)
    return product if table is None else table.evaluate(product)


def _rope_source(state: State, o: Operands, length: int) -> list[Vector]:
    if o.rotary_dim % 2 or not 0 < o.rotary_dim <= o.head_dim or length % o.head_dim:
        raise Trap(f"{length} elements in heads of {o.head_dim} cannot rotate {o.rotary_dim} lanes each")
    if o.style > 1:
        raise Trap(f"rotation style {o.style} does not exist")
    return state.read(o.rope, o.rotary_dim)


# COMP, VXE


def vadd(state: State, o: Operands) -> None:
    a, b = state.read(o.a, o.length), state.read(o.b, o.length)
    state.write(o.dst, [x + y for x, y in zip(a, b, strict=True)])


def vmul(state: State, o: Operands) -> None:
    a, b = state.read(o.a, o.length), state.read(o.b, o.length)
    state.write(o.dst, [x * y for x, y in zip(a, b, strict=True)])


def vbias(state: State, o: Operands) -> None:
    a, b = state.read(o.a, o.length), _required(state.take_vector(o.bias, o.length))
    state.write(o.dst, [x + y for x, y in zip(a, b, strict=True)])


def _required(vectors: list[Vector] | None) -> list[Vector]:
    if vectors is None:
        raise Trap("stream s0 means none, this instruction needs one")
    return vectors


def vscale(state: State, o: Operands) -> None:
    scale = np.float32(o.scale)
    a = state.read(o.a, state.extent(o.length, o.length_reg, o.last))
    factors = state.read(o.by, 1) if o.factors else [None] * len(a)
    state.write(o.dst, [x * scale if by is None else x * scale * by for x, by in zip(a, factors, strict=True)])


def vact(state: State, o: Operands) -> None:
    table = state.activation(o.act)
    a = state.read(o.a, o.length)
    state.write(o.dst, [x if table is None else table.evaluate(x) for x in a])


def vrope(state: State, o: Operands) -> None:
    a = state.read(o.a, o.length)
    if o.rotary_dim:
        ropes = _rope_source(state, o, o.length)
        a = [rotate(x, rope, o.head_dim, o.rotary_dim, o.style) for x, rope in zip(a, ropes, strict=True)]
    state.write(o.dst, a)


def layernorm_(state: State, o: Operands) -> None:
    _norm_parts(state, o, layernorm=True)


def rmsnorm_(state: State, o: Operands) -> None:
    _norm_parts(state, o, layernorm=False)


def add_layernorm(state: State, o: Operands) -> None:
    _norm(state, o, _add_residual(state, o), layernorm=True)


def add_rmsnorm(state: State, o: Operands) -> None:
    _norm(state, o, _add_residual(state, o), layernorm=False)


def _add_residual(state: State, o: Operands) -> list[Vector]:
    """sum = a + b, rounded before it is normalised."""
    a, b = state.read(o.a, o.length), state.read(o.b, o.length)
    state.check_write(o.dst, o.length)
    return state.write(o.sum, [x + y for x, y in zip(a, b, strict=True)])


def _norm_parts(state: State, o: Operands, layernorm: bool) -> None:
    if o.heads > 1 and (o.length % o.heads or o.of_length):
        raise Trap(f"{o.length} elements cannot be normalised as {o.heads} heads of one vector")
    of = state.read(o.of, o.of_length) if o.of_length else None
    _norm(state, o, state.read(o.a, o.length), layernorm, max(1, o.heads), of)


def _norm(
    state: State, o: Operands, inputs: list[Vector], layernorm: bool, heads: int = 1, of: list[Vector] | None = None
) -> None:
    weights = state.take_vector(o.weight, o.length)
    biases = state.take_vector(o.bias, o.length) if layernorm else None
    if weights is not None and o.offset:
        weights = [weight + np.float32(o.offset) for weight in weights]
    size = o.length // heads
    results = []
    for device, x in enumerate(inputs):
        parts = []
        for begin in range(0, o.length, size):
            part = x[begin : begin + size]
            weight = weights[device][begin : begin + size] if weights else None
            bias = biases[device][begin : begin + size] if biases else None
            source = of[device] if of else part
            parts.append(
                _layernorm(part, o.eps, weight, bias, source) if layernorm else _rmsnorm(part, o.eps, weight, source)
            )
        results.append(parts[0] if heads == 1 else np.concatenate(parts))
    state.write(o.dst, results)


def softmax_(state: State, o: Operands) -> None:
    length = state.extent(o.length, o.length_reg, o.last)
    a = state.read(o.a, length)
    begin = state.first(o.length, o.length_reg, o.last)
    first = state.registers[o.first_reg]
    if first >= begin + length:
        raise Trap(f"token {first} is the first that counts, there are {begin + length}")
    biases: list[Vector | None] = [None] * len(a)
    sinks: list[np.float32 | None] = [None] * len(a)
    if o.extras and o.sink:
        sinks = [sink[0] for sink in state.read(o.extra, 1)]
    elif o.extras:
        slopes, tokens = state.read(o.extra, 1), range(begin, begin + length)
        biases = [linear_bias(slope[0], tokens, o.scale, bool(o.coarse)) for slope in slopes]
    state.write(
        o.dst,
        [softmax(x, o.scale, bias, first - begin, sink) for x, bias, sink in zip(a, biases, sinks, strict=True)],
    )


def rank(state: State, o: Operands) -> None:
    vectors = state.read(o.src, o.length)
    if o.place >= o.length or o.count != 1:
        raise Trap(f"{o.count} elements from place {o.place} of {o.length}")
    found = [int(np.argsort(-x, kind="stable")[o.place]) for x in vectors]
    if len(set(found)) != 1:
        raise Trap(f"the devices differ in element {found} of place {o.place}")
    taken = state.read(o.of, o.length) if o.taken else vectors
    state.write(o.dst, [x[found[0] : found[0] + 1].copy() for x in taken])
    state.set_register(o.index, found[0])


def sample(state: State, o: Operands) -> None:
    logits, *others = state.read(o.src, o.length)
    if o.length > state.host.layout.vocab_size:
        raise Trap(f"{o.length} logits, the host counts {state.host.layout.vocab_size} tokens")
    for device, other in enumerate(others, 1):
        if logits.tobytes() != other.tobytes():
            first = int(np.argmax(logits.view(np.uint32) != other.view(np.uint32)))
            raise Trap(f"devices 0 and {device} differ in logit {first}: {logits[first]} and {other[first]}")
    if state.observer is not None:
        state.observer(logits.copy(), state.samples)
    token = Sampler.of(state.host).choose(logits, state.host.counts, state.samples)
    state.samples += 1
    state.host.count(token)
    state.set_register(o.token, token)
    state.set_register(o.stop, int(token in state.host.stop_tokens()))


# NET


def tx(state: State, o: Operands) -> None:
    state.link.transmit(o.tag, state.read(o.src, o.length))


def rx(state: State, o: Operands) -> None:
    state.check_write(o.dst, o.length * o.devices)
    gathered = state.link.receive(o.tag, o.length, o.devices)
    state.write(o.dst, [gathered] * len(state.lmu))


# CTRL


def li(state: State, o: Operands) -> None:
    state.set_register(o.dst, o.value)


def addi(state: State, o: Operands) -> None:
    state.set_register(o.dst, state.registers[o.a] + o.value)


def add(state: State, o: Operands) -> None:
    state.set_register(o.dst, state.registers[o.a] + state.registers[o.b])


def beq(state: State, o: Operands) -> None:
    if state.registers[o.a] == state.registers[o.b]:
        state.pc = o.target


def bne(state: State, o: Operands) -> None:
    if state.registers[o.a] != state.registers[o.b]:
        state.pc = o.target


def blt(state: State, o: Operands) -> None:
    if state.registers[o.a] < state.registers[o.b]:
        state.pc = o.target


def bge(state: State, o: Operands) -> None:
    if state.registers[o.a] >= state.registers[o.b]:
        state.pc = o.target


def jmp(state: State, o: Operands) -> None:
    state.pc = o.target


def hlt(state: State, o: Operands) -> None:
    state.halted = True


SEMANTICS: dict[str, Semantics] = {
    "rd.embed": rd_embed,
    "rd.param": rd_param,
    "rd.kv": rd_kv,
    "wr.key": wr_key,
    "wr.value": wr_value,
    "rd.host": rd_host,
    "wr.host": wr_host,
    "mm": mm,
    "vadd": vadd,
    "vmul": vmul,
    "vbias": vbias,
    "vscale": vscale,
    "vact": vact,
    "vrope": vrope,
    "layernorm": layernorm_,
    "rmsnorm": rmsnorm_,
    "add.layernorm": add_layernorm,
    "add.rmsnorm": add_rmsnorm,
    "softmax": softmax_,
    "rank": rank,
    "sample": sample,
    "tx": tx,
    "rx": rx,
    "li": li,
    "addi": addi,
    "add": add,
    "beq": beq,
    "bne": bne,
    "blt": blt,
    "bge": bge,
    "jmp": jmp,
    "hlt": hlt,
}
"""Mnemonic -> function; a test compares it with `isa.instructions.SPECS`."""
