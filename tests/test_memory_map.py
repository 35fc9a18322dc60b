"""Address arithmetic and the JSON form of memory maps."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.artifacts.layout import memory_map_from_json, memory_map_to_json
from compiler.dtypes import FLOAT16
from compiler.errors import ArtifactError
from compiler.memory_map import CHANNELS, MemoryMap, Region, Segment


@st.composite
def regions(draw):
    layout = draw(st.sampled_from(("rows", "embed", "host")))
    rows = 1 if layout == "host" else draw(st.integers(1, 100))
    cols = draw(st.integers(1, 5000 if layout == "host" else 100))
    stride = cols + draw(st.integers(0, 9)) if layout == "rows" else 0
    kind = {"rows": "key", "embed": "embedding", "host": "io"}[layout]
    begin = 64 * draw(st.integers(0, 9))
    heads = draw(st.integers(1, 3)) if layout == "rows" else 1
    region = Region("r", kind, begin, begin + 64, layout, rows, cols, stride, heads)
    head_bytes = -(-region.used_bytes(2) // 64) * 64 + 64 * draw(st.integers(0, 2))
    return replace(region, end=begin + heads * head_bytes)


@given(region=regions(), data=st.data())
def test_element_inverts_place(region, data):
    head = data.draw(st.integers(0, region.heads - 1))
    row = data.draw(st.integers(0, region.rows - 1))
    col = data.draw(st.integers(0, region.cols - 1))
    place = region.place(row, col, 2, head)
    assert region.begin <= place.address < region.end
    assert 0 <= place.channel < CHANNELS
    assert region.element(place.channel, place.address, 2) == (head, row, col)


@given(region=regions(), channel=st.integers(0, 31), offset=st.integers(0, 20000))
def test_place_inverts_element(region, channel, offset):
    address = region.begin + (offset if region.layout == "host" else offset // 2 * 2)
    found = region.element(channel, address, 2)
    if found is not None:
        assert region.place(found.row, found.col, 2, found.head) == (channel, address)


def test_elements_outside_have_no_place():
    region = Region("r", "weight", 0, 64, "rows", 3, 4, 4)
    for row, col in ((3, 0), (0, 4), (-1, 0)):
        with pytest.raises(IndexError):
            region.place(row, col, 2)
    assert region.element(0, 64, 2) is None
    assert region.element(3, 0, 2) is None


def test_source_elements_follow_the_segments():
    region = Region("r", "weight", 0, 64, "rows", 3, 4, 4, segments=(Segment(1, 1, 0, 10, 5, 2, 3),))
    assert region.source_element(1, 2, 2) == (11, 7)
    assert region.source_element(0, 2, 2) is None
    assert region.source_element(1, 0, 0) is None
    assert region.source_element(1, 1, 3) is None


def sample():
    weight = Region("w", "weight", 0, 128, "rows", 40, 16, 16, segments=(Segment(0, 0, 0, 0, 0, 40, 16),))
    keys = Region("k", "key", 192, 320, "rows", 64, 16, 16, heads=1)
    return MemoryMap("u55c", 1, FLOAT16, 64, 1024, 128, (weight, keys))


def test_region_at_finds_the_region_or_the_gap():
    found = [getattr(sample().region_at(address), "name", None) for address in (0, 127, 128, 191, 192, 319, 320, -1)]
    assert found == ["w", "w", None, None, "k", "k", None, None]


def test_a_map_round_trips():
    assert memory_map_from_json(memory_map_to_json(sample())) == sample()


@pytest.mark.parametrize(
    "index, change, message",
    [
        (0, {"begin": 32}, "not a range of whole bursts"),
        (0, {"rows": 400}, "needs 416 bytes per channel and head, has 128"),
        (0, {"stride": 8}, "stride 8 is below its 16 columns"),
        (1, {"kind": "io"}, "kind io cannot have layout rows"),
        (0, {"name": "k"}, "appears twice"),
        (1, {"begin": 64, "end": 192}, "wrong side of the parameters' end"),
        (1, {"end": 2048}, "behind the channel's 1024"),
        (1, {"heads": 3}, "do not divide into 3 heads"),
        (1, {"rows": 4096}, "needs"),
        (0, {"rows": 0}, "rows is 0"),
        (0, {"layout": "diagonal"}, "layout is 'diagonal'"),
        (0, {"segments": [dict.fromkeys(("device", "local_row", "local_col", "source_row", "source_col"), 0)]}, "rows"),
    ],
)
def test_a_map_that_breaks_a_rule_is_refused(index, change, message):
    content = json.loads(memory_map_to_json(sample()))
    content["regions"][index].update(change)
    with pytest.raises(ArtifactError, match=message):
        memory_map_from_json(json.dumps(content).encode())


def test_overlapping_regions_are_refused():
    keys = sample().regions[1]
    overlapping = replace(sample(), regions=(*sample().regions, replace(keys, name="k2", begin=256, end=384)))
    with pytest.raises(ArtifactError, match="inside the region before"):
        memory_map_from_json(memory_map_to_json(overlapping))
