"""The clock and the estimate: published silicon, and laws that any believable clock keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compiler.checkpoint.config import CheckpointConfig
from compiler.cli.timing import read_parameters as counted_in_build
from compiler.emulator.timing import Clock
from compiler.errors import UsageError
from compiler.estimate import Estimator, estimate, parameter_count, read_parameters
from compiler.graph.architectures import build_graph
from compiler.isa.spec import Unit
from compiler.memory_map import CHANNELS
from compiler.planning import CompileOptions, make_plan, make_program
from compiler.quantity import nominal
from compiler.target import load_target
from tests.graph.test_excerpt import deep
from tests.tiny import EVERY, LLAMA


def _opt(hidden: int, heads: int, layers: int) -> dict[str, Any]:
    return {
        "architectures": ["OPTForCausalLM"],
        "hidden_size": hidden,
        "vocab_size": 50272,
        "ffn_dim": 4 * hidden,
        "max_position_embeddings": 2048,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
    }


OPT_1_3B, OPT_6_7B, OPT_30B = _opt(2048, 32, 24), _opt(4096, 32, 32), _opt(7168, 56, 48)


@pytest.mark.parametrize(
    ("config", "num_devices", "ms", "utilization"),
    [(OPT_1_3B, 1, 1.252, 0.633), (OPT_30B, 1, 20.28, 0.902), (OPT_6_7B, 2, 2.586, 0.790)],
    ids=["opt-1.3b", "opt-30b", "opt-6.7b-2x"],
)
def test_published_latencies_come_out_within_two_percent(
    config: dict[str, Any], num_devices: int, ms: float, utilization: float
) -> None:
    """LPU paper (arXiv 2408.07326): 32 tokens in, 2016 out, four HBM3 stacks."""
    found = estimate(config, CompileOptions(num_devices=num_devices, target="lpu-3280"), 32, 2016)
    assert found.ms_per_token == pytest.approx(ms, rel=0.02)
    assert found.utilization == pytest.approx(utilization, rel=0.02)


def test_the_nominal_size_is_the_one_in_the_name() -> None:
    for config, expected in ((OPT_1_3B, 1.3e9), (OPT_6_7B, 6.7e9), (OPT_30B, 30e9)):
        assert nominal(parameter_count(build_graph(CheckpointConfig(config)))) == expected


@pytest.mark.parametrize("name", EVERY)
def test_a_config_and_a_build_count_the_same_parameters_of_a_token(name: str) -> None:
    """Of a mixture the chosen experts; a build has no rows of positions beyond its length."""
    options = CompileOptions(num_devices=2)
    plan = make_plan(EVERY[name], options)
    program = make_program(plan, options)
    from_config = read_parameters(build_graph(CheckpointConfig(EVERY[name])))
    from_build = counted_in_build(plan.mapping.memory_map, program.instructions, program.debug)
    assert 0 <= from_config - from_build < 0.005 * from_config
    mixture = any(node.op == "expert" and node.parameter("expert.1") for node in plan.graph.nodes)
    assert (from_config < parameter_count(build_graph(CheckpointConfig(EVERY[name])))) == mixture


def test_no_mixture_uses_more_than_the_bandwidth() -> None:
    config = {**EVERY["mixtral"], "hidden_size": 1024, "intermediate_size": 3584, "num_attention_heads": 16}
    config.update(num_key_value_heads=4, num_local_experts=8, vocab_size=32000, max_position_embeddings=2048)
    for num_devices in (1, 4):
        found = estimate(config, CompileOptions(num_devices), 8, 100)
        assert found.utilization is not None
        assert 0.2 < found.utilization < 1


def test_a_model_that_does_not_fit_has_no_times_but_a_smallest_fit() -> None:
    found = estimate(OPT_30B, CompileOptions(target="u55c"))
    assert not found.fits
    assert found.ms_per_token is None
    assert found.smallest_fit == 4


@pytest.mark.parametrize("num_devices", [1, 2, 8])
@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom", "mpt", "gemma2", "qwen3-moe", "gptj", "falcon"])
def test_the_estimate_is_the_clock_of_the_whole_program(name: str, num_devices: int) -> None:
    """Within 0.2 %: the emulator's clock on the allocated program of all layers, an excerpt before allocation."""
    config = deep(name)
    options = CompileOptions(num_devices=num_devices, target="lpu-3280", max_length=40)
    plan = make_plan(config, options)
    clock = Clock(make_program(plan, options).instructions, plan.rules)
    found = estimate(config, options, 30, 1)
    assert found.ms_per_token is not None
    assert found.ms_per_token == pytest.approx(clock.token(29).cycles / plan.target.clock_hz * 1e3, rel=0.002)
    assert found.ttft_ms is not None
    fed = sum(clock.token(position, prompt=True).cycles for position in range(29)) + clock.token(29).cycles
    assert found.ttft_ms == pytest.approx(fed / plan.target.clock_hz * 1e3, rel=0.002)


@pytest.mark.parametrize(("target", "fusion"), [("u55c", False), ("lpu-3280", False), ("u55c", True)])
def test_the_estimate_reorders_as_far_ahead_as_a_compile_does(target: str, fusion: bool) -> None:
    """Without fusion a layer has so many instructions that a wide window pays."""
    config = {**LLAMA, "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 32, "hidden_size": 512}
    config["max_position_embeddings"] = 300
    options = CompileOptions(target=target, dtype="float32", max_length=300, fusion=fusion)
    plan = make_plan(config, options)
    clock = Clock(make_program(plan, options).instructions, plan.rules)
    found = estimate(config, options, 30, 1)
    assert found.ms_per_token == pytest.approx(clock.token(29).cycles / plan.target.clock_hz * 1e3, rel=0.002)


def test_a_real_width_agrees_too_and_its_units_are_busy_or_stalled_all_the_time() -> None:
    config = {**OPT_1_3B, "num_hidden_layers": 7}
    options = CompileOptions(num_devices=2, target="lpu-3280", max_length=512)
    plan = make_plan(config, options)
    clock = Clock(make_program(plan, options).instructions, plan.rules)
    found = estimate(config, options, 200, 1)
    assert found.ms_per_token == pytest.approx(clock.token(199).cycles / plan.target.clock_hz * 1e3, rel=0.005)
    for unit in Unit:
        stalled = sum(share for name, share in found.stalls.items() if name.split()[0] == unit.value)
        assert found.busy[unit.value] + stalled == pytest.approx(1, abs=0.01)


def test_estimates_of_one_model_do_not_depend_on_each_other() -> None:
    estimator = Estimator(OPT_1_3B, 32, 200)
    wanted = [CompileOptions(num_devices=n, target=name) for name in ("lpu-3280", "u55c") for n in (1, 2, 4)]
    assert [estimator.estimate(options) for options in wanted] == [estimate(OPT_1_3B, o, 32, 200) for o in wanted]


WIRED = [("u55c", "ring", 1), ("u55c", "2-lines", 3), ("lpu-819", "4-lines", 2), ("lpu-1640", "2-lines", 4)]
WIRED += [("lpu-3280", "ring", 7), ("lpu-3280", "2-lines", 2)]


@pytest.mark.parametrize(("target", "topology", "num_devices"), WIRED)
def test_on_every_wiring_a_token_moves_weights_and_caches_no_faster_than_the_memory(
    target: str, topology: str, num_devices: int
) -> None:
    options = CompileOptions(num_devices, target, max_length=2048, topology=topology)
    plan = make_plan({**OPT_1_3B, "num_hidden_layers": 2}, options)
    clock = Clock(make_program(plan, options).instructions, plan.rules)
    empty, half, full = (clock.token(position) for position in (0, 1000, 2000))
    assert empty.cycles <= half.cycles <= full.cycles
    for token in (empty, half, full):
        assert token.stream_bytes <= token.cycles * plan.rules.bytes_per_cycle
        assert all(0 <= cycles <= token.cycles for cycles in token.busy.values())
    rows = [region for region in plan.mapping.memory_map.regions if region.is_parameter and region.layout == "rows"]
    weights = sum(region.end - region.begin for region in rows) * CHANNELS
    assert empty.stream_bytes == pytest.approx(weights, rel=0.02)  # and the first token's caches and rows
    heads = plan.mapping.partition.local_query_heads
    caches = 2 * plan.graph.num_layers * heads * plan.graph.heads.head_dim * 2000 * plan.dtype.itemsize
    assert full.stream_bytes - empty.stream_bytes == pytest.approx(caches, rel=0.05)  # in whole bursts of all channels


def _clock(options: CompileOptions, config: dict[str, Any] = LLAMA) -> Clock:
    plan = make_plan(config, options)
    return Clock(make_program(plan, options).instructions, plan.rules)


def test_no_unit_is_busy_longer_than_the_token_and_slices_of_a_unit_never_overlap() -> None:
    token = _clock(CompileOptions(num_devices=3)).token(20, slices=True)
    spans: dict[str, list[tuple[float, float]]] = {}
    clock = _clock(CompileOptions(num_devices=3))
    assert token.slices
    for unit, cycles in token.busy.items():
        assert 0 <= cycles <= token.cycles, unit
    plan = make_plan(LLAMA, CompileOptions(num_devices=3))
    program = make_program(plan, CompileOptions(num_devices=3)).instructions
    for piece in token.slices:
        unit = program[piece.pc].spec.unit
        assert 0 <= piece.start <= piece.end <= token.cycles
        if unit in (Unit.SXE, Unit.VXE, Unit.ESL):
            spans.setdefault(unit.value, []).append((piece.start, piece.end))
    for found in spans.values():
        assert all(a[1] <= b[0] for a, b in zip(sorted(found), sorted(found)[1:], strict=False))
    assert clock.token(20).cycles == token.cycles


def test_a_longer_text_and_a_token_with_logits_take_longer() -> None:
    clock = _clock(CompileOptions(target="lpu-3280", max_length=2048), OPT_1_3B)
    times = [clock.token(position).cycles for position in (10, 500, 1000, 2000)]
    assert times == sorted(times)
    assert clock.token(500, prompt=True).cycles < clock.token(500).cycles


def test_passes_make_the_program_faster() -> None:
    def cycles(fusion: bool, reorder: bool) -> float:
        options = CompileOptions(target="lpu-3280", fusion=fusion, reorder=reorder, max_length=1024)
        return _clock(options, {**OPT_1_3B, "num_hidden_layers": 2}).token(512).cycles

    assert cycles(True, True) < cycles(True, False) < cycles(False, False)


@pytest.mark.parametrize("name", ["overlap", "chunk-transmit", "fuse-linear", "fuse-residual-norm", "fuse-softmax"])
@pytest.mark.parametrize(("target", "num_devices"), [("lpu-3280", 1), ("lpu-3280", 8), ("u55c", 2)])
def test_no_pass_that_the_clock_sees_makes_a_program_slower(name: str, target: str, num_devices: int) -> None:
    grouped = {**LLAMA, "hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32}
    grouped.update(num_key_value_heads=8, head_dim=64, vocab_size=32000, max_position_embeddings=2048)
    for config in (OPT_1_3B, grouped):
        estimator = Estimator(config, 32, 500)
        options = CompileOptions(num_devices, target)
        with_it, without = (
            estimator.estimate(each).ms_per_token for each in (options, replace(options, without=(name,)))
        )
        assert with_it is not None and without is not None
        assert with_it <= without * 1.0005  # of two that are as fast, either may be chosen


def test_memory_bound_tokens_move_the_weights_at_the_rate_of_the_memory() -> None:
    found = estimate(OPT_30B, CompileOptions(target="lpu-3280"), 32, 100)
    assert found.binds == "memory"
    target = load_target("lpu-3280")
    floor = 2 * parameter_count(build_graph(CheckpointConfig(OPT_30B))) / target.hbm_bytes_per_s * 1e3
    assert found.ms_per_token is not None
    assert floor < found.ms_per_token < 1.15 * floor


def test_a_text_longer_than_the_model_is_refused() -> None:
    with pytest.raises(UsageError, match=r"32 input and 2017 output tokens exceed max_position_embeddings 2048"):
        estimate(OPT_1_3B, CompileOptions(), 32, 2017)
