"""Laws of windows in programs: only the tokens that count are streamed, and that is what a token costs."""

from __future__ import annotations

from functools import cache

import pytest

from compiler.emulator.report import time_generation
from compiler.emulator.timing import Clock
from compiler.errors import VerificationError
from compiler.isa.encode import Instruction, encode_program
from compiler.isa.spec import TOKEN_UNIT, first_token
from compiler.memory_map import BURST_BYTES, CHANNELS
from compiler.planning import CompileOptions, Plan, make_plan, make_program
from compiler.program.build import Program
from compiler.program.verify import verify_program
from tests.tiny import EVERY

LONG = 2048


@cache
def _mistral(max_length: int, window: int) -> tuple[Plan, Program]:
    config = {**EVERY["mistral"], "max_position_embeddings": LONG, "sliding_window": window}
    options = CompileOptions(max_length=max_length, target="lpu-3280")
    plan = make_plan(config, options)
    return plan, make_program(plan, options)


def _streams(program: Program) -> list[Instruction]:
    return [instr for instr in program.instructions if instr.mnemonic == "rd.kv"]


@pytest.mark.parametrize("name", EVERY)
def test_a_stream_is_of_the_last_tokens_where_a_window_is_narrower_than_the_caches(name: str) -> None:
    plan = make_plan(EVERY[name], CompileOptions())
    program = make_program(plan, CompileOptions())
    windows = {node.integer("window") for node in plan.graph.nodes if node.op == "softmax"} - {0}
    narrow = {window + TOKEN_UNIT - 1 for window in windows} & set(range(plan.mapping.memory_map.max_length))
    found = {
        instr.integer("cols" if instr.integer("cols_reg") else "rows")
        for instr in _streams(program)
        if instr.integer("last")
    }
    assert found == narrow


_OF_TOKENS = ("rows", "cols", "stride", "length", "rows_reg", "cols_reg", "length_reg", "last")


@pytest.mark.parametrize("mnemonic", ["rd.kv", "mm", "softmax", "vscale"])
def test_the_verifier_refuses_every_changed_extent_of_tokens(mnemonic: str) -> None:
    plan = make_plan(EVERY["mistral"], CompileOptions(fusion=False))
    program = make_program(plan, CompileOptions(fusion=False))
    survivors, tried = [], 0
    for pc, instr in enumerate(program.instructions):
        if instr.mnemonic != mnemonic or not instr.integer("last"):
            continue
        for index, operand in enumerate(instr.spec.operands):
            if operand.name not in _OF_TOKENS:
                continue
            values = list(instr.values)
            values[index] = int(values[index]) ^ 1 if operand.bits == 1 else int(values[index]) + 1
            tried += 1
            changed = list(program.instructions)
            changed[pc] = Instruction(instr.spec, tuple(values))
            try:
                verify_program(changed, plan.mapping.memory_map, 1 << 20, len(program.tables))
            except VerificationError:
                continue
            survivors.append((pc, operand.name))
    assert tried and not survivors


def test_a_token_beyond_its_window_costs_the_same_wherever_it_is() -> None:
    plan, program = _mistral(LONG, 100)
    clock = Clock(program.instructions, plan.rules)
    early, late = (clock.token(position) for position in (40 * TOKEN_UNIT + 5, 60 * TOKEN_UNIT + 5))
    assert (early.cycles, early.stream_bytes) == (late.cycles, late.stream_bytes)
    assert clock.token(50).stream_bytes < early.stream_bytes


@pytest.mark.parametrize("tokens", [1, 100, 131, 132, 163, 164, 1000, LONG])
def test_a_stream_moves_the_bursts_of_the_tokens_it_holds(tokens: int) -> None:
    """Rows of keys over the channels, and of each row of values the bursts."""
    plan, program = _mistral(LONG, 100)
    seen = tokens - first_token(tokens, 131)
    head_dim = plan.graph.heads.head_dim
    for instr in _streams(program):
        rows, cols = (seen, head_dim) if instr.integer("rows_reg") else (head_dim, seen)
        row_bytes = -(-cols * 2 // BURST_BYTES) * BURST_BYTES
        work = plan.rules.work(instr.spec, lambda name, instr=instr: int(dict(_named(instr)).get(name, 0)), tokens)
        assert work.stream_bytes == -(-rows // CHANNELS) * CHANNELS * row_bytes


def _named(instr: Instruction) -> list[tuple[str, float]]:
    return [(operand.name, value) for operand, value in zip(instr.spec.operands, instr.values, strict=True)]


def test_a_generation_across_the_windows_edge_takes_the_sum_of_its_tokens() -> None:
    """Timed at nine positions or fewer; the edge is a corner of the time, beyond it a token has one of 32 phases."""
    plan, program = _mistral(LONG, 500)
    clock = Clock(program.instructions, plan.rules)
    per_ms = plan.rules.target.clock_hz / 1e3
    timed = time_generation(clock, 1500, 400)
    prompt = sum(clock.token(position, prompt=True).cycles for position in range(1499))
    assert timed.ttft_ms * per_ms == pytest.approx(prompt + clock.token(1499).cycles, rel=1e-3)
    timed = time_generation(clock, 32, 1200)
    cycles = [clock.token(position).cycles for position in range(31, 1231)]
    assert timed.ms_per_token * per_ms == pytest.approx(sum(cycles) / 1200, rel=1e-3)


def test_a_window_as_wide_as_the_caches_changes_nothing_but_the_mask() -> None:
    _, wide = _mistral(LONG, LONG - TOKEN_UNIT + 1)
    assert not any(instr.integer("last") for instr in _streams(wide))
    _, wider = _mistral(LONG, LONG)
    assert len(encode_program(wide.instructions)) > len(encode_program(wider.instructions))  # the mask's register
