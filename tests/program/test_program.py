"""Laws of phase 4: lowered, allocated and verified; and the emulator agrees with the reference executor."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from compiler.debug_info import LiveRange
from compiler.dtypes import FLOAT16
from compiler.errors import CapacityError, VerificationError
from compiler.graph.ops import OPS
from compiler.isa.encode import Instruction, decode_program, encode_program
from compiler.isa.spec import Kind
from compiler.isa.text import format_program, parse_program
from compiler.mapping.plan import Mapping, plan_mapping
from compiler.program.allocate import allocate
from compiler.program.blocks import take_apart
from compiler.program.build import Program, build_program
from compiler.program.dependence import dependences
from compiler.program.lower import RULES, lower
from compiler.program.schedule import Overlap
from compiler.program.verify import verify_allocation, verify_program
from compiler.target import load_target
from compiler.target.timing import Rules, rules_for
from tests.tiny import CONFIGS, tiny_graph

LMU = 1 << 16


def _mapping(name: str, num_devices: int, fusion: bool = True) -> Mapping:
    return plan_mapping(tiny_graph(name, fusion, fusion), load_target("u55c"), num_devices, FLOAT16, 40)


def _program(name: str, num_devices: int, fusion: bool = True) -> Program:
    overlap = Overlap() if fusion else None
    return build_program(
        tiny_graph(name, fusion, fusion), _mapping(name, num_devices, fusion), LMU, _rules(num_devices), overlap
    )


def _rules(num_devices: int) -> Rules:
    return rules_for(load_target("u55c"), num_devices, FLOAT16.itemsize)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("num_devices", [1, 2, 3, 8])
@pytest.mark.parametrize("fusion", [True, False])
def test_a_program_is_legal_and_reads_back_from_words_and_text(name: str, num_devices: int, fusion: bool) -> None:
    program = _program(name, num_devices, fusion)
    listed = list(program.instructions)
    assert decode_program(encode_program(listed)) == listed
    assert parse_program(format_program(listed, program.debug.labels)) == listed


def test_one_device_needs_no_network_and_several_gather_four_times_a_layer() -> None:
    assert not [i for i in _program("llama", 1).instructions if i.spec.group == "NET"]
    graph = tiny_graph("llama")
    sent = [i for i in _program("llama", 2).instructions if i.mnemonic == "tx"]
    # Embedding and logits, and per layer: attention, its projection, the gated product, the down projection.
    assert len(sent) == 2 + 4 * graph.num_layers


def test_fusion_shortens_the_program() -> None:
    for name in CONFIGS:
        assert len(_program(name, 2).instructions) < len(_program(name, 2, fusion=False).instructions)


def test_keys_and_values_pass_from_the_matrix_unit_to_memory_without_the_lmu() -> None:
    for instr in _program("llama", 2).instructions:
        if instr.mnemonic in ("wr.key", "wr.value"):
            assert instr.integer("stream") > 0


def test_live_ranges_that_meet_in_time_never_meet_in_space() -> None:
    values = _program("llama", 3, fusion=False).debug.values
    assert len(values) > 50

    def meet(a: LiveRange, b: LiveRange) -> bool:
        in_time = a.first_pc <= b.last_pc and b.first_pc <= a.last_pc
        return in_time and a.begin < b.end and b.begin < a.end

    assert not [(a, b) for index, a in enumerate(values) for b in values[index + 1 :] if meet(a, b)]


def test_an_lmu_too_small_is_a_capacity_error_naming_the_value() -> None:
    lowered = build_program(tiny_graph("llama"), _mapping("llama", 1), LMU, _rules(1), None)
    with pytest.raises(CapacityError, match=r"LMU: .* needs elements"):
        build_program(tiny_graph("llama"), _mapping("llama", 1), lowered.used_elements - 1, _rules(1), Overlap())


def test_reordering_looks_less_far_ahead_when_the_lmu_is_small() -> None:
    lowered = build_program(tiny_graph("llama"), _mapping("llama", 1), LMU, _rules(1), None)
    tight = build_program(tiny_graph("llama"), _mapping("llama", 1), lowered.used_elements, _rules(1), Overlap())
    assert tight.used_elements <= lowered.used_elements


def _mutants(instructions: tuple[Instruction, ...], kinds: set[Kind]) -> list[tuple[int, Instruction]]:
    """Each instruction with one operand of those kinds moved."""
    made = []
    for pc, instr in enumerate(instructions):
        for index, operand in enumerate(instr.spec.operands):
            if operand.kind in kinds:
                step = 64 if operand.kind is Kind.HBM else 1
                values = list(instr.values)
                values[index] = int(values[index]) + step
                made.append((pc, Instruction(instr.spec, tuple(values))))
    return made


def test_the_verifier_finds_every_moved_stream_region_and_extent() -> None:
    mapping = _mapping("llama", 2)
    program = _program("llama", 2)
    survivors = []
    for pc, mutant in _mutants(program.instructions, {Kind.HBM, Kind.STREAM}):
        changed = (*program.instructions[:pc], mutant, *program.instructions[pc + 1 :])
        try:
            verify_program(changed, mapping.memory_map, LMU, len(program.tables))
        except VerificationError:
            continue
        survivors.append((pc, mutant))
    assert not survivors


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (lambda sent, received: [sent, received, received], r"rx .*: tag 1 was not sent"),
        (lambda sent, received: [sent, sent, received], r"tx .*: tag 1 was sent and not received yet"),
        (lambda sent, received: [received, sent], r"rx .*: tag 1 was not sent"),
        (lambda sent, received: [sent], r"tx with tag 1 has no rx"),
        (lambda sent, received: [sent, _longer(received)], r"rx .*: what was sent are \d+ elements"),
    ],
)
def test_the_verifier_pairs_transmits_and_receives_by_their_tags(
    place: Callable[[Instruction, Instruction], list[Instruction]], message: str
) -> None:
    program, mapping = _program("llama", 2), _mapping("llama", 2)
    pairs = {instr.mnemonic: pc for pc, instr in enumerate(program.instructions) if _tag(instr) == 1}
    sent, received = (program.instructions[pairs[name]] for name in ("tx", "rx"))
    before, behind = program.instructions[: pairs["tx"]], program.instructions[pairs["tx"] + 1 :]
    changed = (*before, *place(sent, received), *(instr for instr in behind if instr is not received))
    with pytest.raises(VerificationError, match=message):
        verify_program(changed, mapping.memory_map, LMU, len(program.tables))


def _tag(instr: Instruction) -> int:
    return instr.integer("tag") if instr.mnemonic in ("tx", "rx") else 0


def _longer(instr: Instruction) -> Instruction:
    pairs = zip(instr.spec.operands, instr.values, strict=True)
    values = [int(value) + (operand.name == "length") for operand, value in pairs]
    return Instruction(instr.spec, tuple(values))


def test_the_allocation_verifier_finds_every_moved_lmu_read() -> None:
    mapping = _mapping("llama", 2)
    virtual = lower(tiny_graph("llama"), mapping)
    allocation = allocate(virtual, LMU)
    verify_allocation(allocation.instructions, virtual, LMU)
    found = 0
    for pc, instr in enumerate(allocation.instructions):
        for operand, _ in virtual.instructions[pc].slots():
            index = instr.spec.operands.index(operand)
            if operand.effect.value == "read":
                values = list(instr.values)
                values[index] = int(values[index]) + 1
                changed = list(allocation.instructions)
                changed[pc] = Instruction(instr.spec, tuple(values))
                with pytest.raises(VerificationError):
                    verify_allocation(changed, virtual, LMU)
                found += 1
    assert found > 50


def test_two_builds_have_the_same_bytes(tmp_path: Path) -> None:
    first, second = (encode_program(_program("opt", 3).instructions) for _ in range(2))
    assert first == second
    assert np.frombuffer(first, np.uint8).any()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("num_devices", [1, 3])
def test_reordering_keeps_every_dependence_and_every_instruction(name: str, num_devices: int) -> None:
    lowered = lower(tiny_graph(name), _mapping(name, num_devices))
    reordered = Overlap().run(take_apart(lowered), _rules(num_devices))
    place = {id(instr): index for index, instr in enumerate(reordered.instructions)}
    assert sorted(place) == sorted(id(instr) for instr in lowered.instructions)
    assert reordered.instructions != lowered.instructions
    edges = sorted({0, len(lowered.instructions), *lowered.labels.values()})
    checked = 0
    for begin, end in pairwise(edges):
        block = lowered.instructions[begin:end]
        assert {place[id(instr)] for instr in block} == set(range(begin, end))
        for index, needed in enumerate(dependences(block)):
            for earlier in needed:
                assert place[id(block[earlier])] < place[id(block[index])]
                checked += 1
    assert checked > len(lowered.instructions)


def test_every_op_has_a_rule_and_every_rule_an_op() -> None:
    assert RULES.keys() == OPS.keys()
