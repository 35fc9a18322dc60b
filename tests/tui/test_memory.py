"""The memory map for a screen: bars cover their width, selections keep the map's regions."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32, DType
from compiler.memory_map import REGION_KINDS, Region, Segment
from compiler.source import SourceRef
from hyperdex_tui.backend.cells import held_bytes, place_of_source, spot_at, value_text
from hyperdex_tui.backend.memory import (
    FREE,
    LETTERS,
    SORTS,
    Key,
    Window,
    bar_runs,
    cells_of,
    channel_uses,
    device_bytes,
    groups_of,
    kind_key,
    layer_key,
    letter_of,
    regions_between,
    select,
    totals,
    whole_window,
)
from hyperdex_tui.themes import LOOKS
from hyperdex_tui.widgets.memory_bar import role_of
from tests.tui.builds import make_map

MAP = make_map()


def test_every_kind_has_a_letter_of_its_own() -> None:
    assert set(LETTERS) == {*REGION_KINDS, FREE}
    assert len(set(LETTERS.values())) == len(LETTERS)


@given(st.integers(1, 300))
def test_a_bar_has_exactly_its_width(width: int) -> None:
    runs = bar_runs(MAP, width, whole_window(MAP))
    assert sum(cells for _, cells in runs) == width
    assert all(first[0] != second[0] for first, second in pairwise(runs))


WINDOWS = st.builds(
    lambda center, factor: whole_window(MAP).zoomed(factor, center, MAP.channel_bytes),
    st.integers(0, MAP.end),
    st.floats(0.001, 1000.0),
)


@given(st.integers(1, 300), WINDOWS)
def test_the_mark_of_a_region_in_sight_lies_on_the_bar(width: int, window: Window) -> None:
    for region in MAP.regions:
        place = cells_of(region, width, window)
        assert (place is not None) == window.holds(region)
        if place is not None:
            assert place[0] >= 0 and place[1] >= 1 and place[0] + place[1] <= width


@given(WINDOWS, st.floats(-3.0, 3.0))
def test_a_window_stays_within_the_channel(window: Window, share: float) -> None:
    for each in (window, window.moved(share, MAP.channel_bytes)):
        assert 0 <= each.begin < each.end <= MAP.channel_bytes
    assert window.moved(share, MAP.channel_bytes).end - window.moved(share, MAP.channel_bytes).begin == (
        window.end - window.begin
    )


@pytest.mark.parametrize("key", [kind_key, layer_key])
def test_totals_count_every_region_once_and_every_key_has_a_look(key: Key) -> None:
    found = totals(MAP, key)
    assert sum(total.bytes for total in found) == sum(device_bytes(MAP, region) for region in MAP.regions)
    assert [total.key for total in found][-1] == ("io" if key is kind_key else "layer 3")
    assert all(len(letter_of(total.key)) == 1 and role_of(total.key) in LOOKS for total in found)


@given(st.integers(0, MAP.end), st.integers(0, MAP.end))
def test_regions_between_are_those_that_overlap(first: int, second: int) -> None:
    begin, end = sorted((first, second))
    expected = [region for region in MAP.regions if region.begin < end and begin < region.end]
    assert list(regions_between(MAP, begin, end)) == expected


@pytest.mark.parametrize("sort", SORTS)
def test_groups_hold_every_region_once(sort: str) -> None:
    members = [region for group in groups_of(MAP.regions, sort) for region in group.regions]
    assert sorted(members, key=lambda region: region.begin) == list(MAP.regions)
    assert {group.title for group in groups_of(MAP.regions, sort)} >= {"layer 0", "embedding", "io"}


def split_region() -> Region:
    """A 70 x 48 tensor, 35 rows and 2 of padding on each of two devices."""
    parts = tuple(Segment(device, 0, 0, 35 * device, 0, 35, 48) for device in range(2))
    source = SourceRef("m", "m.weight")
    return Region("w", "weight", 64, 64 + 2 * 64 * 2, "rows", 37, 48, 64, source=source, segments=parts)


@given(st.integers(0, 69), st.integers(0, 47), st.integers(0, 1))
def test_from_an_element_to_its_byte_and_back(row: int, col: int, device: int) -> None:
    region = split_region()
    found = place_of_source(region, FLOAT16, row, col, device)
    assert found is not None and found[0] == row // 35
    for byte in range(2):
        spot = spot_at(region, FLOAT16, found[0], found[1].channel, found[1].address + byte)
        assert spot.source == (row, col) and spot.address == found[1].address
    assert place_of_source(region, FLOAT16, 70, 0) is None


def test_held_bytes_are_the_elements_that_can_be_reached() -> None:
    for region in (split_region(), *MAP.regions[:4]):
        for channel in (0, 4, 5, 31):
            addresses = range(region.begin, region.end, 2)
            spots = [spot_at(region, FLOAT16, 1, channel, address) for address in addresses]
            reached = sum(
                spot.element is not None and (not region.segments or spot.source is not None) for spot in spots
            )
            assert held_bytes(region, 2, 1, channel) == 2 * reached


def test_every_byte_of_a_channel_is_held_padding_or_free() -> None:
    for use in channel_uses(MAP, 0):
        assert sum(use.held.values()) + use.padding + use.free == MAP.channel_bytes
        assert use.padding >= 0


@pytest.mark.parametrize(("dtype", "raw"), [(FLOAT16, "003c"), (BFLOAT16, "803f"), (FLOAT32, "0000803f")])
def test_a_value_is_shown_by_its_dtype(dtype: DType, raw: str) -> None:
    assert value_text(bytes.fromhex(raw), dtype) == "1"
    assert value_text(b"", dtype) == ""


def test_totals_add_up_to_the_regions() -> None:
    assert sum(total.bytes for total in totals(MAP)) == sum(device_bytes(MAP, region) for region in MAP.regions)


def test_every_order_shows_the_same_regions() -> None:
    for sort in SORTS:
        assert set(select(MAP, "", sort)) == set(MAP.regions)
    sizes = [region.end - region.begin for region in select(MAP, "", "size")]
    assert sizes == sorted(sizes, reverse=True)


def test_a_filter_looks_at_name_kind_and_tensor() -> None:
    assert {region.name for region in select(MAP, "layers.2 Q_PROJ", "address")} == {"l2.q"}
    assert {region.kind for region in select(MAP, "value", "address")} == {"value"}
