"""The tape's interpreter as LLVM code: rows in order, units shared by threads, a barrier where a row asks for one.

    run_DTYPE(rows, count, registers, shared, thread, threads, yield) -> 0, or 1 + the row that faulted

All threads call it with the same tape. `shared` is SHARED_WORDS zeroed words of `tape`.
A thread that waits looks SPINS times and then lets others run (`yield`, a
function of the C library), as there may be fewer processors than threads.
Imported only where llvmlite is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from compiler.dtypes import DType
from compiler.emulator.ir_builder import I64, PTR, Code, Value
from compiler.emulator.matrix_ir import cached, product
from compiler.emulator.memory_ir import embed, gather, keep_key, keep_value
from compiler.emulator.norm_ir import norm, softmax
from compiler.emulator.operation_ir import Operation
from compiler.emulator.pairs_ir import pack
from compiler.emulator.tape import (
    ABANDONED_WORD,
    ARRIVED_WORD,
    FAULT_WORD,
    GENERATION_WORD,
    HEADER,
    ROW_FIELDS,
    STOP_WORD,
)
from compiler.emulator.vector_ir import elementwise, finish, scale

SPINS = 2000
"""Looks before a thread yields: some ten microseconds."""


BUILDERS: dict[str, Callable[[Operation], None]] = {
    "product": product,
    "pack": pack,
    "cached": cached,
    "finish": finish,
    "add": elementwise(lambda b, x, y: b.fadd(x, y)),
    "multiply": elementwise(lambda b, x, y: b.fmul(x, y)),
    "scale": scale,
    "layernorm": norm(layernorm=True),
    "rmsnorm": norm(layernorm=False),
    "softmax": softmax,
    "embed": embed,
    "keep_key": keep_key,
    "keep_value": keep_value,
    "gather": gather,
}
"""Operation -> what writes its function; a test compares it with `tape.OPS`."""


def module_text(dtype: DType, native_half: bool) -> str:
    """The operations and the interpreter for builds of `dtype`; they call the functions of `kernel_ir`."""
    module = ir.Module("tape")
    for name, build in BUILDERS.items():
        build(Operation(module, name, dtype, native_half))
    _interpreter(module, interpreter_name(dtype))
    return str(module)


def interpreter_name(dtype: DType) -> str:
    """Name of the exported interpreter for builds of `dtype`."""
    return f"run_{dtype}"


def _interpreter(module: Any, name: str) -> None:
    words = I64.as_pointer()  # llvmlite wants to know what an atomic store writes to, and a call calls
    give_way = ir.FunctionType(ir.IntType(32), ()).as_pointer()
    code = Code(module, name, I64, (PTR, I64, PTR, words, I64, I64, give_way))
    b = code.b
    rows, count, registers, shared, thread, threads, _ = code.arguments

    def row(index: Value, _: object) -> None:
        here = code.element(rows, b.mul(index, I64(ROW_FIELDS)), I64)
        _, units, shift, barrier, members = (code.load(here, I64(at), I64) for at in range(len(HEADER)))
        with code.when(b.icmp_signed("!=", barrier, I64(0))):
            _wait(code)
        first = b.srem(b.sub(b.add(thread, threads), b.srem(shift, threads)), threads)

        def unit(at: Value, _: object) -> None:
            last = b.icmp_signed(">=", b.add(at, threads), units)
            following = b.select(last, at, b.add(at, threads))
            code.loop(members, lambda member, _: operate(b.add(index, member), at, following))

        with code.when(b.icmp_signed("!=", members, I64(0))):
            _strided(code, first, units, threads, unit)

    def operate(index: Value, unit: Value, following: Value) -> None:
        here = code.element(rows, b.mul(index, I64(ROW_FIELDS)), I64)
        function = code.load(here, I64(HEADER.index("function")), I64)
        operation = b.inttoptr(function, ir.FunctionType(I64, (PTR, PTR, I64, I64)).as_pointer())
        status = b.call(operation, (here, registers, unit, following))
        with code.when(b.icmp_signed("!=", status, I64(0))):
            b.store_atomic(b.add(index, I64(1)), b.gep(shared, [I64(FAULT_WORD)]), "monotonic", 8)

    code.loop(count, row)
    _wait(code)
    b.ret(b.load_atomic(b.gep(shared, [I64(STOP_WORD)]), "monotonic", 8, typ=I64))


def _strided(code: Code, begin: Value, end: Value, step: Value, body: Any) -> None:
    """Units begin, begin + step, .. below end."""
    b = code.b
    turns = b.sdiv(b.add(b.sub(end, begin), b.sub(step, I64(1))), step)
    code.loop(turns, lambda turn, _: body(b.add(begin, b.mul(turn, step)), None))


def _wait(code: Code) -> None:
    """Until all threads are here, or one cannot come; then leave the function if one of them faulted.

    The last one to arrive decides that for all: a fault noted behind the barrier must not stop only some.
    """
    b = code.b
    _, _, _, shared, _, threads, give_way = code.arguments
    arrived, generation, fault, stop = (
        b.gep(shared, [I64(word)]) for word in (ARRIVED_WORD, GENERATION_WORD, FAULT_WORD, STOP_WORD)
    )
    now = b.load_atomic(generation, "acquire", 8, typ=I64)
    place = b.atomic_rmw("add", arrived, I64(1), "acq_rel")
    with b.if_else(b.icmp_signed("==", b.add(place, I64(1)), threads)) as (last, others):
        with last:
            b.store_atomic(b.load_atomic(fault, "monotonic", 8, typ=I64), stop, "monotonic", 8)
            b.store_atomic(I64(0), arrived, "monotonic", 8)
            b.store_atomic(b.add(now, I64(1)), generation, "release", 8)
        with others:
            _spin(code, generation, now, b.gep(shared, [I64(ABANDONED_WORD)]), give_way)
    found = b.load_atomic(stop, "monotonic", 8, typ=I64)
    with code.when(b.icmp_signed("!=", found, I64(0))):
        b.ret(found)


def _spin(code: Code, generation: Value, now: Value, abandoned: Value, give_way: Value) -> None:
    b = code.b
    before = b.block
    head, alone, again, leave, polite, behind = (code.function.append_basic_block() for _ in range(6))
    b.branch(head)
    b.position_at_end(head)
    looks = b.phi(I64)
    looks.add_incoming(I64(0), before)
    same = b.icmp_signed("==", b.load_atomic(generation, "acquire", 8, typ=I64), now)
    b.cbranch(same, alone, behind)
    b.position_at_end(alone)
    b.cbranch(b.icmp_signed("==", b.load_atomic(abandoned, "monotonic", 8, typ=I64), I64(0)), again, leave)
    b.position_at_end(leave)
    b.ret(I64(1))
    b.position_at_end(again)
    more = b.add(looks, I64(1))
    looks.add_incoming(more, again)
    patient = b.or_(b.icmp_signed("<", more, I64(SPINS)), b.icmp_signed("==", b.ptrtoint(give_way, I64), I64(0)))
    b.cbranch(patient, head, polite)
    b.position_at_end(polite)
    b.call(give_way, ())
    looks.add_incoming(more, polite)
    b.branch(head)
    b.position_at_end(behind)
