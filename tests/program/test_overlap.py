"""What layer reordering is for, seen on the clock: OPT-1.3B's shape on two devices, two layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from compiler.isa.encode import Instruction
from compiler.mapping.partition import AT_ONCE, Chunks
from compiler.planning import CompileOptions, Plan, make_plan, make_program
from compiler.program.build import Program
from compiler.program.costs import cost_model
from compiler.program.schedule import Overlap
from compiler.program.token_path import Times, predict_token
from tests.tiny import EVERY, OPT

SHAPE: dict[str, Any] = {**OPT, "hidden_size": 2048, "ffn_dim": 8192, "num_attention_heads": 32, "vocab_size": 50272}
SHAPE["max_position_embeddings"] = 2048
POSITION = 1023


@dataclass(frozen=True)
class Timed:
    """A program with the predicted times of one token."""

    plan: Plan
    program: Program
    order: tuple[Times, ...]
    times: dict[int, Times]

    def module(self, pc: int) -> str:
        """The module that an instruction belongs to."""
        node = self.program.debug.node_of(pc)
        return node.source.module if node else ""

    def of(self, mnemonic: str, op: str = "", layer: int | None = None) -> Iterator[tuple[int, Instruction, Times]]:
        """Instructions by mnemonic, op of their node and layer, in program order."""
        for pc, instr in enumerate(self.program.instructions):
            node = self.program.debug.node_of(pc)
            if instr.mnemonic != mnemonic or pc not in self.times or (op and (node is None or node.op != op)):
                continue
            if layer is None or (node is not None and node.source.layer == layer):
                yield pc, instr, self.times[pc]


def _timed(**options: Any) -> Timed:
    chosen = CompileOptions(num_devices=2, target="lpu-3280", **options)
    plan = make_plan(SHAPE, chosen)
    program = make_program(plan, chosen)
    token = predict_token(program.instructions, program.debug.labels, plan.rules, POSITION)
    return Timed(plan, program, token.times, dict(zip(token.pcs, token.times, strict=True)))


@pytest.fixture(scope="module")
def timed() -> Timed:
    """All passes, vectors gathered at once."""
    return _timed(chunks=AT_ONCE)


def _cycles(timed: Timed) -> int:
    return max(max(times.end, times.ready) for times in timed.times.values())


def test_the_softmax_of_a_head_runs_under_the_matrix_work_of_others(timed: Timed) -> None:
    for layer in range(2):
        softmaxes = [times for _, _, times in timed.of("softmax", layer=layer)]
        values = [times for _, _, times in timed.of("mm", "attend", layer)]
        assert len(softmaxes) == len(values) == 16
        assert all(value.start == softmax.ready for softmax, value in zip(softmaxes, values, strict=True))
        hidden = [times for times in values if times.start < softmaxes[-1].end]
        assert len(hidden) > 8  # those behind wait until the last softmaxes have retired
        for times in hidden:
            assert any(each.start < times.end and times.start < each.end for each in softmaxes)
        # The vector unit is what binds here: it never waits between two heads.
        assert all(after.start == before.end for before, after in pairwise(softmaxes))


def test_the_strobe_write_of_the_value_hides_under_key_and_query(timed: Timed) -> None:
    for layer in range(2):
        [value] = [times for _, _, times in timed.of("wr.value", layer=layer)]
        [key] = [times for _, _, times in timed.of("wr.key", layer=layer)]
        query = max(times.start for pc, _, times in timed.of("mm", layer=layer) if "q_proj" in timed.module(pc))
        first_read = next(timed.of("rd.kv", "attend", layer))[2]
        assert value.ready < key.ready < first_read.start
        assert value.start < query


def test_parameters_are_asked_for_front_to_back_as_one_stream(timed: Timed) -> None:
    regions = {region.begin: region for region in timed.plan.mapping.memory_map.regions}
    read = [regions[instr.integer("hbm")] for _, instr, _ in timed.of("rd.param")]
    for before, after in pairwise(each for each in read if each.source.layer >= 0):
        assert after.begin == before.end  # value, query, key, their biases, and on through both layers


def test_streams_are_asked_for_across_operators_and_layers_as_far_as_the_fifo_goes(timed: Timed) -> None:
    rules, waited = timed.plan.rules, 0
    fifo_bytes, latency = rules.target.timing.fifo_bytes, rules.target.timing.hbm_latency_cycles
    matrices = sorted((times.start, times, instr) for _, instr, times in timed.of("mm") if times.streams)
    for (_, before, _), (_, times, instr) in pairwise(matrices):
        if times.start - before.end <= latency or instr.integer("rows_reg") or instr.integer("cols_reg"):
            continue  # one matrix right behind the other, or a cache, which must be written first
        asked = min(timed.order[stream].start for stream in times.streams)
        count = instr.integer("rows") * instr.integer("cols") * rules.itemsize
        assert times.start - asked >= latency + rules.stream_cycles(min(count, fifo_bytes))
        waited += 1
    assert waited == 2 * 4  # output projection, both of the network, and what follows: a value, or the head


@pytest.mark.parametrize("name", EVERY)
def test_an_order_costs_what_the_program_in_that_order_takes(name: str) -> None:
    """Demands are worked out once, in program order; here they are worked out anew from the reordered program."""
    plan = make_plan(EVERY[name], CompileOptions(num_devices=2, target="lpu-3280"))
    costs = cost_model(plan.graph, plan.target, plan.rules, plan.dtype, plan.max_length, 20)
    for chunks in (AT_ONCE, Chunks(((plan.graph.shapes[plan.graph.nodes[-1].inputs[0]].size, 2),), heads=2)):
        for overlap in (Overlap(4, 20), Overlap(24, 20)):
            program = overlap.run(costs.programs.with_chunks(chunks), plan.rules)
            taken = predict_token(program.instructions, program.labels, plan.rules, 19).cycles
            assert costs.cycles(chunks, overlap) == taken


def test_a_chunk_travels_while_the_next_is_computed() -> None:
    timed = _timed(chunks=Chunks(((8192, 4),)))
    for layer in range(2):
        name = f"model.decoder.layers.{layer}.fc1"
        products, sent = (
            [times for pc, _, times in timed.of(mnemonic, "linear", layer) if timed.module(pc) == name]
            for mnemonic in ("mm", "tx")
        )
        assert len(products) == len(sent) == 4
        for times, following in zip(sent, products[1:], strict=False):
            assert times.start < following.end
    assert _cycles(timed) < _cycles(_timed(chunks=AT_ONCE))
