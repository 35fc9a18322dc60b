"""Laws of phase 3: partition and gather is the identity, regions never overlap, nothing is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.checkpoint.config import CheckpointConfig
from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32, DType
from compiler.errors import CapacityError, UsageError, VerificationError
from compiler.graph.architectures import build_graph
from compiler.graph.ir import Graph, Heads, Shape, Spread
from compiler.mapping.fill import device_blocks
from compiler.mapping.partition import AT_ONCE, Chunks, choose_partition
from compiler.mapping.plan import Mapping, plan_mapping, plan_memory, resolve_max_length
from compiler.mapping.regions import parameter_of_region
from compiler.mapping.sources import Sources
from compiler.mapping.verify import verify_contents, verify_map
from compiler.memory_map import CHANNELS, MemoryMap
from compiler.rounding import cast
from compiler.target import load_target
from tests.tiny import CONFIGS, LLAMA, RandomTensors, tiny_graph

COUNTS = (1, 2, 3, 4, 5, 8, 64)


def _mapping(graph: Graph, num_devices: int, dtype: DType = FLOAT16) -> Mapping:
    return plan_mapping(graph, load_target("u55c"), num_devices, dtype, 40)


def _channels(graph: Graph, memory_map: MemoryMap) -> np.ndarray:
    """Bytes [device, channel, address] of all parameters."""
    memory = np.zeros((memory_map.num_devices, CHANNELS, memory_map.file_bytes), np.uint8)
    for device in range(memory_map.num_devices):
        end = 0
        for block in device_blocks(memory_map, Sources(graph, RandomTensors(graph)), device):
            content = block.content.view(np.uint8).reshape(CHANNELS, -1)
            assert block.address >= end
            end = block.address + content.shape[1]
            memory[device, :, block.address : end] = content
    return memory


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("num_devices", COUNTS)
def test_a_map_passes_its_verifier(name: str, num_devices: int) -> None:
    graph = tiny_graph(name)
    verify_map(_mapping(graph, num_devices).memory_map, graph)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("num_devices", (1, 3, 4))
@pytest.mark.parametrize("dtype", (FLOAT16, BFLOAT16, FLOAT32), ids=str)
def test_gathering_the_channels_of_all_devices_gives_every_tensor_back(
    name: str, num_devices: int, dtype: DType
) -> None:
    graph = tiny_graph(name)
    memory_map = _mapping(graph, num_devices, dtype).memory_map
    memory = _channels(graph, memory_map)
    size = dtype.itemsize
    for region in memory_map.regions:
        if not region.is_parameter or region.kind == "table":
            continue
        source, _ = Sources(graph, RandomTensors(graph)).rows(region)
        expected = cast(source, FLOAT32, dtype)
        parameter = graph.parameter(parameter_of_region(region.name))
        first, cut = parameter.first_row, parameter.cut
        seen = np.zeros(source.shape, bool)
        for device in range(num_devices):
            for row in range(region.rows):
                for col in range(0, region.cols, 7):
                    place = region.place(row, col, size)
                    found = memory[device, place.channel, place.address : place.address + size].tobytes()
                    origin = region.source_element(device, row, col)
                    if origin is None:
                        assert found == bytes(size)
                    else:
                        seen[origin] = True
                        assert found == expected[origin].tobytes()
        held = seen.any(axis=1)
        if cut is not None:
            assert held.tolist() == [(row - cut.first) % cut.period < cut.count for row in range(len(held))]
        else:
            assert held[first:].all() or region.layout == "embed"


def test_contents_that_differ_in_one_bit_are_found() -> None:
    graph = tiny_graph("llama")
    memory_map = _mapping(graph, 2).memory_map
    memory = _channels(graph, memory_map)

    def read(device: int, channel: int, address: int, count: int) -> bytes:
        return memory[device, channel, address : address + count].tobytes()

    assert verify_contents(memory_map, Sources(graph, RandomTensors(graph)), read) > 100
    region = memory_map.region("model.norm.weight")
    memory[:, :, region.begin : region.end] ^= 1
    with pytest.raises(VerificationError, match=r"model\.norm\.weight"):
        verify_contents(memory_map, Sources(graph, RandomTensors(graph)), read)


def test_a_map_of_another_model_is_refused_by_a_parameter() -> None:
    graph = tiny_graph("llama")
    memory_map = _mapping(graph, 1).memory_map
    with pytest.raises(VerificationError, match="has no region"):
        verify_map(replace(memory_map, regions=memory_map.regions[1:]), graph)
    fewer = replace(graph, parameters=graph.parameters[1:])
    with pytest.raises(VerificationError, match="is no parameter"):
        verify_map(memory_map, fewer)


@pytest.mark.parametrize("field", ["begin", "end", "rows", "segments"])
def test_the_verifier_finds_a_damaged_region(field: str) -> None:
    graph = tiny_graph("llama")
    memory_map = _mapping(graph, 3).memory_map
    for index, region in enumerate(memory_map.regions):
        if not region.is_parameter or (field == "end" and region.end - region.begin < 128):
            continue
        change = {
            "begin": region.begin - 64 if index else region.begin + 32,
            "end": region.end - 64,
            "rows": region.rows + 32 * 64,
            "segments": region.segments[1:] if region.kind in ("weight", "embedding") else (),
        }[field]
        damaged = replace(region, **{field: change})
        regions = (*memory_map.regions[:index], damaged, *memory_map.regions[index + 1 :])
        with pytest.raises(VerificationError):
            verify_map(replace(memory_map, regions=regions), graph)


@given(
    kv_heads=st.integers(1, 12),
    group=st.integers(1, 12),
    num_devices=st.integers(1, 64),
    head_dim=st.sampled_from([2, 64]),
)
def test_every_query_head_is_on_one_device_beside_its_key_head(
    kv_heads: int, group: int, num_devices: int, head_dim: int
) -> None:
    heads = Heads(kv_heads * group, kv_heads, head_dim)
    partition = choose_partition(heads, num_devices, 512, 128)
    query = Shape(Spread.QUERY, heads.num_attention_heads, head_dim)
    cache = Shape(Spread.CACHE, kv_heads, head_dim)
    slots = {(run.device, run.local // head_dim): run.source // head_dim for run in partition.runs(cache)}
    held = []
    for run in partition.runs(query):
        assert run.source == run.device * partition.local_size(query)
        for offset in range(0, run.count, head_dim):
            local, source = (run.local + offset) // head_dim, (run.source + offset) // head_dim
            held.append(source)
            assert slots[run.device, local // partition.group] == source // group
    assert held == list(range(heads.num_attention_heads))


@given(size=st.integers(1, 300), num_devices=st.integers(1, 64))
def test_column_runs_cover_a_vector_once_and_in_order(size: int, num_devices: int) -> None:
    partition = choose_partition(Heads(1, 1, 2), num_devices, 64, 64)
    covered = [
        index
        for run in partition.runs(Shape(Spread.VECTOR, 1, size))
        for index in range(run.source, run.source + run.count)
    ]
    assert covered == list(range(size))


def test_a_model_too_large_says_needed_available_and_the_smallest_fit() -> None:
    config = {
        "architectures": ["OPTForCausalLM"],
        "hidden_size": 9216,
        "vocab_size": 50272,
        "ffn_dim": 36864,
        "max_position_embeddings": 2048,
        "num_attention_heads": 72,
        "num_hidden_layers": 64,
    }
    graph = build_graph(CheckpointConfig(config))
    plan = plan_memory(graph, load_target("u55c"), 2, FLOAT16, 2048)
    assert not plan.fits
    with pytest.raises(
        CapacityError, match=rf"has 17\.2 GB; the smallest number of devices that fits is {plan.smallest_fit}"
    ):
        plan_mapping(graph, load_target("u55c"), 2, FLOAT16, 2048)
    assert plan_memory(graph, load_target("u55c"), plan.smallest_fit, FLOAT16, 2048).fits
    assert not plan_memory(graph, load_target("u55c"), plan.smallest_fit - 1, FLOAT16, 2048).fits


def test_plan_and_map_agree_on_bytes() -> None:
    graph = tiny_graph("llama")
    for count in COUNTS:
        plan = plan_memory(graph, load_target("u55c"), count, FLOAT16, 40)
        assert plan.bytes_per_device == _mapping(graph, count).memory_map.end * CHANNELS


@pytest.mark.parametrize("num_devices", [0, -1, 65])
def test_a_device_count_out_of_range_is_a_usage_error(num_devices: int) -> None:
    with pytest.raises(UsageError, match=r"is not in 1\.\.64"):
        _mapping(tiny_graph("llama"), num_devices)


def test_max_length_is_bounded_by_the_models_positions() -> None:
    graph = build_graph(CheckpointConfig(LLAMA))
    assert resolve_max_length(graph, None) == 40
    assert resolve_max_length(graph, 7) == 7
    for bad in (0, 1, 41):
        with pytest.raises(UsageError, match=r"outside 2\.\.40"):
            resolve_max_length(graph, bad)


@pytest.mark.parametrize("chunks", [AT_ONCE, Chunks(heads=4), Chunks(((64, 2), (352, 8))), Chunks(((64, 2),), 2)])
def test_chunks_are_read_as_they_are_written(chunks: Chunks) -> None:
    assert Chunks.parse(str(chunks)) == chunks


@pytest.mark.parametrize(
    "text", ["heads=0", "heads=1", "64=1", "64=-2", "0=2", "-5=2", "64=2 64=4", " 64=2", "64", "a=2"]
)
def test_chunks_that_no_build_names_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Chunks.parse(text)
