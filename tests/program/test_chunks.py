"""Laws of gathering in chunks: the model's order whatever the chunks; found out when it is not; chosen by the clock."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.checkpoint.config import CheckpointConfig
from compiler.dtypes import FLOAT16
from compiler.errors import VerificationError
from compiler.graph.architectures import build_graph
from compiler.graph.ir import Heads, Shape, Spread
from compiler.graph.passes import passes_for, run_passes
from compiler.graph.rewrite import few_layers
from compiler.graph.verify import verify_graph
from compiler.isa.encode import Instruction
from compiler.mapping.partition import AT_ONCE, Chunks, choose_partition
from compiler.mapping.plan import Mapping, plan_mapping
from compiler.mapping.verify import verify_map
from compiler.program.build import Program, build_program
from compiler.program.chunks import ChunkTransmit
from compiler.program.costs import CostModel, choose_window, cost_model
from compiler.program.schedule import Overlap
from compiler.program.verify_order import verify_order
from compiler.target import load_target
from compiler.target.timing import rules_for
from tests.tiny import EVERY, LLAMA, WIDE, tiny_graph, wide_graph

LMU = 1 << 16
WIDTHS = (140, 192, 301, 328, 768)


def _chunks(count: int) -> Chunks:
    return Chunks(tuple((width, count) for width in WIDTHS), count)


def _built(name: str, num_devices: int, chunks: Chunks, fusion: bool = True) -> tuple[Program, Mapping]:
    graph, target = wide_graph(name, fusion, fusion), load_target("u55c")
    mapping = plan_mapping(graph, target, num_devices, FLOAT16, 40, chunks)
    rules = rules_for(target, num_devices, FLOAT16.itemsize)
    return build_program(graph, mapping, LMU, rules, Overlap() if fusion else None), mapping


@given(
    size=st.integers(1, 3000),
    num_devices=st.integers(1, 9),
    count=st.integers(1, 9),
    kv_heads=st.integers(1, 9),
    group=st.integers(1, 4),
)
def test_the_chunks_of_all_devices_behind_one_another_are_the_vector(
    size: int, num_devices: int, count: int, kv_heads: int, group: int
) -> None:
    heads = Heads(kv_heads * group, kv_heads, 2)
    partition = choose_partition(heads, num_devices, 64, 64, Chunks(((size, count),), count))
    for shape in (Shape(Spread.VECTOR, 1, size), Shape(Spread.QUERY, heads.num_attention_heads, 2)):
        held = {
            (run.device, run.local + offset): run.source + offset
            for run in partition.runs(shape)
            for offset in range(run.count)
        }
        lengths = partition.parts(shape)
        assert sum(lengths) == partition.local_size(shape) and len(lengths) <= count
        gathered = [
            held.get((device, begin + index))
            for begin, length in zip(accumulate(lengths, initial=0), lengths, strict=False)
            for device in range(num_devices)
            for index in range(length)
        ]
        assert gathered[: shape.size] == list(range(shape.size))
        assert set(gathered[shape.size :]) <= {None}


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("num_devices", [2, 3])
@pytest.mark.parametrize("fusion", [True, False])
def test_a_chunked_program_is_legal_and_sends_each_chunk_once(name: str, num_devices: int, fusion: bool) -> None:
    plain, _ = _built(name, num_devices, AT_ONCE, fusion)
    program, mapping = _built(name, num_devices, _chunks(3), fusion)
    verify_map(mapping.memory_map, wide_graph(name, fusion, fusion))
    sent, before = ([i for i in each.instructions if i.mnemonic == "tx"] for each in (program, plain))
    assert len(sent) > len(before)
    assert sum(i.integer("length") for i in sent) == sum(i.integer("length") for i in before)


def test_one_chunk_is_the_program_without_chunks() -> None:
    assert _built("llama", 2, _chunks(1))[0].instructions == _built("llama", 2, AT_ONCE)[0].instructions


@pytest.mark.parametrize("name", ["llama", "opt", "qwen3-moe"])
def test_the_order_verifier_finds_every_chunk_that_is_moved(name: str) -> None:
    program, mapping = _built(name, 3, _chunks(2))
    instructions = program.instructions
    verify_order(instructions, mapping.memory_map, LMU)
    mutants = []
    for pc, instr in enumerate(instructions):
        if instr.mnemonic == "tx":
            mutants.append((pc, _moved(instr, "src", 1)))
        elif instr.mnemonic == "rd.param" and instr.integer("rows") < _rows_at(mapping, instr):
            region = mapping.memory_map.region_at(instr.integer("hbm"))
            assert region is not None
            step = region.begin - instr.integer("hbm")
            if step:
                mutants.append((pc, _moved(instr, "hbm", step)))
    assert len(mutants) > 15
    for pc, mutant in mutants:
        changed = (*instructions[:pc], mutant, *instructions[pc + 1 :])
        with pytest.raises(VerificationError, match="order: instruction"):
            verify_order(changed, mapping.memory_map, LMU)


def _rows_at(mapping: Mapping, instr: Instruction) -> int:
    region = mapping.memory_map.region_at(instr.integer("hbm"))
    assert region is not None
    return region.rows


def _moved(instr: Instruction, name: str, step: int) -> Instruction:
    values = [
        int(value) + step if operand.name == name else value
        for operand, value in zip(instr.spec.operands, instr.values, strict=True)
    ]
    return Instruction(instr.spec, tuple(values))


def test_two_transfers_swapped_are_found() -> None:
    program, mapping = _built("llama", 2, _chunks(2))
    instructions = list(program.instructions)
    rx = [pc for pc, instr in enumerate(instructions) if instr.mnemonic == "rx"]
    first, second = rx[1], rx[2]
    a, b = instructions[first].integer("dst"), instructions[second].integer("dst")
    instructions[first], instructions[second] = (
        _moved(instructions[first], "dst", b - a),
        _moved(instructions[second], "dst", a - b),
    )
    with pytest.raises(VerificationError, match="order: instruction"):
        verify_order(instructions, mapping.memory_map, LMU)


@pytest.mark.parametrize("name", EVERY)
def test_few_layers_of_a_graph_are_a_legal_graph(name: str) -> None:
    graph = tiny_graph(name)
    short = few_layers(graph, 1)
    verify_graph(short) if short.nodes[-1].op == "sample" else None
    assert short.num_layers == 1
    assert {node.source.layer for node in short.nodes} <= {-1, 0}
    assert few_layers(graph, 2) is graph


def _plan(port_bytes_per_s: float, num_devices: int = 2) -> tuple[Chunks, CostModel]:
    """What is chosen for a gated network of a real width, and the clock that chose."""
    config = {**LLAMA, "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "vocab_size": 32000}
    graph = run_passes(build_graph(CheckpointConfig(config)), passes_for(True, True))
    target = load_target("lpu-3280")
    target = replace(target, link=replace(target.link, port_bytes_per_s=port_bytes_per_s))
    rules = rules_for(target, num_devices, FLOAT16.itemsize)
    costs = cost_model(graph, target, rules, FLOAT16, 40, 20)
    return ChunkTransmit().choose(costs, Overlap()), costs


def test_the_clock_decides_how_many_chunks_there_are() -> None:
    chosen, costs = _plan(12.5e9)
    assert chosen.of(14336) > 1
    assert costs.cycles(chosen, Overlap()) < costs.cycles(AT_ONCE, Overlap())
    assert _plan(12.5e15)[0].of(14336) < chosen.of(14336)  # what is left to hide is the product of gate and up
    assert _plan(12.5e9, num_devices=1)[0] == AT_ONCE


def test_the_window_is_the_narrowest_of_the_best() -> None:
    _, costs = _plan(12.5e9)
    windows = (4, 8, 16, 32)
    chosen = choose_window(costs, AT_ONCE, Overlap(), windows)
    cycles = {window: costs.cycles(AT_ONCE, Overlap(window)) for window in windows}
    assert chosen.window == min(window for window in windows if cycles[window] == min(cycles.values()))
    assert cycles[chosen.window] < costs.cycles(AT_ONCE, Overlap(1))
