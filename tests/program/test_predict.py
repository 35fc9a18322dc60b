"""The scheduler's prediction and the emulator's clock: two implementations of one model, compared."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.cli.passes import without_link
from compiler.emulator.timing import Clock, TokenTime
from compiler.isa.encode import Instruction, instruction
from compiler.isa.spec import Unit
from compiler.planning import CompileOptions, Plan, make_plan, make_program
from compiler.program.build import Program
from compiler.program.token_path import TokenPrediction, predict_token
from compiler.target import TARGET_NAMES, load_target
from compiler.target.timing import Rules, rules_for
from compiler.target.topology import TOPOLOGIES
from tests.tiny import EVERY

CACHE, STRIDE = 0x10000, 64


def _rules(target: str, num_devices: int, fifo_bytes: int, topology: str = "") -> Rules:
    described = load_target(target)
    timing = replace(described.timing, fifo_bytes=fifo_bytes)
    return rules_for(replace(described, timing=timing), num_devices, 2, topology)


def _assert_equal(clocked: TokenTime, predicted: TokenPrediction) -> None:
    """Issue, start and end of every instruction, and busy and stalled cycles of every unit with their reasons."""
    assert tuple(piece.pc for piece in clocked.slices) == predicted.pcs
    for piece, times in zip(clocked.slices, predicted.times, strict=True):
        assert (piece.issue, piece.start, piece.end) == (times.issue, times.start, times.end), piece
    assert clocked.cycles == predicted.cycles
    assert clocked.stream_bytes == predicted.stream_bytes
    assert clocked.busy == predicted.busy
    assert clocked.stalls == predicted.stalls


@pytest.mark.parametrize("name", EVERY)
def test_clock_and_prediction_agree_on_every_family_target_and_position(name: str) -> None:
    for index, target in enumerate(TARGET_NAMES):
        options = CompileOptions(num_devices=(1, 2, 3, 8)[(index + len(name)) % 4], target=target)
        plan, program = _built(name, options)
        clock = Clock(program.instructions, plan.rules)
        for position, prompt in ((0, True), (7, False), (39, False), (20, True)):
            predicted = predict_token(program.instructions, program.debug.labels, plan.rules, position, prompt=prompt)
            _assert_equal(clock.token(position, prompt=prompt, slices=True), predicted)


@pytest.mark.parametrize("topology", [name for name in TOPOLOGIES if name != "ring"])
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "qwen3-moe", "opt"])
def test_clock_and_prediction_agree_on_lines(name: str, topology: str) -> None:
    for target in TARGET_NAMES:
        for num_devices in (2, 3, 4) if topology == "2-lines" else (2,):
            plan, program = _built(name, CompileOptions(num_devices, target, topology=topology))
            assert plan.rules.wiring.hops == num_devices - 1
            clock = Clock(program.instructions, plan.rules)
            for position, prompt in ((0, False), (20, True), (39, False)):
                predicted = predict_token(
                    program.instructions, program.debug.labels, plan.rules, position, prompt=prompt
                )
                _assert_equal(clock.token(position, prompt=prompt, slices=True), predicted)


def _built(name: str, options: CompileOptions) -> tuple[Plan, Program]:
    plan = make_plan(EVERY[name], options)
    return plan, make_program(plan, options)


def _stream_reader(draw: st.DrawFn, stream: int) -> list[Instruction]:
    """A stream and the matrix that reads it, perhaps with a bias, from a place of the LMU to another."""
    rows, cols = draw(st.integers(1, 3000)), draw(st.integers(1, 700))
    kind = draw(st.sampled_from(["rd.param", "rd.kv"]))
    extra = {"bias": stream + 1} if draw(st.booleans()) else {}
    opened = [instruction(kind, stream=stream, hbm=CACHE * (kind == "rd.kv"), rows=rows, cols=cols, stride=cols)]
    if extra:
        opened.append(instruction("rd.param", stream=stream + 1, hbm=0, rows=rows, cols=1, stride=1))
    src, dst = (draw(st.integers(0, 20)) * STRIDE for _ in range(2))
    return [*opened, instruction("mm", dst=dst, src=src, stream=stream, rows=rows, cols=cols, **extra)]


def _reader_of_tokens(draw: st.DrawFn, stream: int, a: int, dst: int) -> list[Instruction]:
    """As many tokens as there are, or the last of them."""
    most, last = draw(st.integers(32, 1500)), draw(st.booleans())
    counted = draw(st.sampled_from(["rows", "cols"]))
    shape = {"rows": 64, "cols": 64, counted: most, f"{counted}_reg": 1, "last": last}
    stride = 64 if counted == "rows" else 1536
    return [
        instruction("rd.kv", stream=stream, hbm=CACHE, stride=stride, **shape),
        instruction("mm", dst=dst, src=a, stream=stream, **shape),
        instruction("softmax", dst=a, a=dst, length=most, scale=1.0, length_reg=1, first_reg=2, last=last),
    ]


@st.composite
def _piece(draw: st.DrawFn, stream: int) -> list[Instruction]:
    """A few instructions; together pieces meet in the LMU, in the cache, on the link and in registers."""
    kind = draw(st.sampled_from(["mm", "mm", "vector", "norm", "gather", "write", "embed", "control", "tokens"]))
    a, b, dst = (draw(st.integers(0, 20)) * STRIDE for _ in range(3))
    length = draw(st.integers(1, 1500))
    if kind == "mm":
        return _stream_reader(draw, stream)
    if kind == "tokens":
        return _reader_of_tokens(draw, stream, a, dst)
    if kind == "vector":
        return [instruction("vadd", dst=dst, a=a, b=b, length=length)]
    if kind == "norm":
        opened = instruction("rd.param", stream=stream, hbm=0, rows=1, cols=length, stride=length)
        return [opened, instruction("rmsnorm", dst=dst, a=a, length=length, eps=1e-5, weight=stream)]
    if kind == "gather":
        sent = instruction("tx", src=a, length=length, tag=stream)
        return [sent, instruction("rx", dst=dst, length=length, devices=2, tag=stream)]
    if kind == "write":
        mnemonic = draw(st.sampled_from(["wr.key", "wr.value"]))
        operands: dict[str, Any] = {"heads": 2, "head_dim": 32, "stride": 32, "head_stride": 64, "at": 1}
        return [instruction(mnemonic, src=a, hbm=CACHE, **operands)]
    if kind == "embed":
        return [instruction("rd.embed", dst=dst, hbm=0, index=draw(st.integers(1, 4)), length=length, rows=9)]
    register = draw(st.integers(1, 4))
    chosen = instruction("rank", index=register, dst=dst, src=a, length=length, place=0, count=1)
    return draw(st.sampled_from([[chosen], [instruction("addi", dst=register, a=register, value=1)]]))


@st.composite
def _program(draw: st.DrawFn) -> tuple[Instruction, ...]:
    pieces = [draw(_piece(stream=1 + 2 * (index % 30))) for index in range(draw(st.integers(1, 40)))]
    instructions = [instr for piece in pieces for instr in piece]
    for at, instr in reversed([*enumerate(instructions)]):
        if instr.mnemonic == "rx" and draw(st.booleans()):  # others send before it has arrived
            instructions.insert(draw(st.integers(at, len(instructions) - 1)), instructions.pop(at))
    for _ in range(draw(st.integers(0, 10))):  # openers move ahead of what they do not depend on
        at = draw(st.integers(1, max(1, len(instructions) - 1)))
        before = instructions[at - 1 : at]
        if at < len(instructions) and instructions[at].mnemonic == "rd.param" and before[0].mnemonic != "rd.param":
            instructions[at - 1], instructions[at] = instructions[at], instructions[at - 1]
    return (*instructions, instruction("hlt"))


@settings(max_examples=150, deadline=None)
@given(
    program=_program(),
    target=st.sampled_from(TARGET_NAMES),
    wired=st.sampled_from([("ring", 1), ("ring", 2), ("ring", 5), ("ring", 8), ("2-lines", 4), ("4-lines", 2)]),
    fifo_bytes=st.sampled_from([1 << 12, 1 << 16, 1 << 20]),
    position=st.integers(0, 4000),
)
def test_clock_and_prediction_agree_on_programs_nobody_would_write(
    program: tuple[Instruction, ...], target: str, wired: tuple[str, int], fifo_bytes: int, position: int
) -> None:
    rules = _rules(target, wired[1], fifo_bytes, wired[0])
    clocked = Clock(program, rules).token(position, slices=True)
    _assert_equal(clocked, predict_token(program, {}, rules, position))
    for unit in Unit:
        stalled = sum(cycles for (who, _), cycles in clocked.stalls.items() if who is unit)
        assert clocked.busy[unit] + stalled == clocked.cycles


def test_a_chain_on_one_unit_takes_the_sum_of_its_parts() -> None:
    """No stall but the first: the one case that can be added up by hand."""
    rules = _rules("lpu-3280", 1, 1 << 20)
    timing = rules.target.timing
    chain = [instruction("vadd", dst=0, a=0, b=64, length=640) for _ in range(5)]
    times = predict_token((*chain, instruction("hlt")), {}, rules, 0).times
    step = 640 // timing.vxe_lanes + timing.add_cycles + timing.vxe_pass_cycles + timing.retire_cycles
    starts = [timing.issue_cycles + index * step for index in range(5)]
    assert [each.start for each in times[:5]] == starts
    assert all(b.start == a.ready for a, b in pairwise(times[:5]))


def test_the_link_takes_a_result_as_it_is_written_and_whoever_reads_what_it_brought_waits_until_that_has_retired() -> (
    None
):
    """Along a gather retirement is paid once: behind the receive."""
    rules = _rules("lpu-3280", 2, 1 << 20)
    timing, link = rules.target.timing, rules.target.link
    made = instruction("vadd", dst=0, a=0, b=64, length=640)
    sent, received = (
        instruction("tx", src=0, length=640, tag=1),
        instruction("rx", dst=1024, length=640, devices=2, tag=1),
    )
    own, gathered = (instruction("vadd", dst=4096, a=source, b=source, length=640) for source in (0, 1024))
    times = predict_token((made, sent, received, own, gathered, instruction("hlt")), {}, rules, 0).times
    written = times[0].end + timing.add_cycles + timing.vxe_pass_cycles
    bytes_cycles = rules.work(sent.spec, lambda name: 640 * (name == "length"), 1).cycles
    assert times[1].start == written
    assert times[2].start == times[2].end == written + bytes_cycles + link.hop_cycles
    assert times[3].start == written + timing.retire_cycles
    assert times[4].start == max(times[3].end, times[2].end + timing.retire_cycles)


def test_devices_without_wires_between_them_read_a_gathered_vector_as_one_of_their_own() -> None:
    rules = without_link(_rules("lpu-3280", 2, 1 << 20))
    pieces = instruction("vadd", dst=0, a=0, b=64, length=640), instruction("vadd", dst=4096, a=0, b=0, length=640)
    gather = instruction("tx", src=0, length=640, tag=1), instruction("rx", dst=0, length=640, devices=1, tag=1)
    alone, shared = (
        predict_token((pieces[0], *between, pieces[1], instruction("hlt")), {}, rules, 0).times
        for between in ((), gather)
    )
    assert shared[3].start == alone[1].start


def test_the_link_sends_the_next_slice_while_the_one_before_is_on_its_way() -> None:
    rules = _rules("lpu-3280", 8, 1 << 20)
    sent = [instruction("tx", src=0, length=640, tag=tag) for tag in (1, 2, 3)]
    received = [instruction("rx", dst=8192 * tag, length=640, devices=8, tag=tag) for tag in (1, 2, 3)]
    bytes_cycles, hops_cycles, _, _ = rules.work(sent[0].spec, lambda name: 640 * (name == "length"), 1)
    times = predict_token((*sent, *received, instruction("hlt")), {}, rules, 0).times
    assert hops_cycles == 4 * rules.target.link.hop_cycles
    first = times[0].start
    assert [each.start for each in times[:3]] == [first + index * bytes_cycles for index in range(3)]
    assert [each.end for each in times[3:6]] == [first + index * bytes_cycles + hops_cycles for index in (1, 2, 3)]
