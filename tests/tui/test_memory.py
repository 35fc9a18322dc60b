"""The memory map for a screen: bars cover their width, selections keep the map's regions."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from compiler.memory_map import REGION_KINDS
from hyperdex_tui.backend.memory import FREE, LETTERS, SORTS, bar_runs, cells_of, device_bytes, select, totals
from tests.tui.builds import make_map

MAP = make_map()


def test_every_kind_has_a_letter_of_its_own() -> None:
    assert set(LETTERS) == {*REGION_KINDS, FREE}
    assert len(set(LETTERS.values())) == len(LETTERS)


@given(st.integers(1, 300))
def test_a_bar_has_exactly_its_width(width: int) -> None:
    runs = bar_runs(MAP, width)
    assert sum(cells for _, cells in runs) == width
    assert all(first[0] != second[0] for first, second in pairwise(runs))


@given(st.integers(1, 300))
def test_the_mark_of_every_region_lies_on_the_bar(width: int) -> None:
    for region in MAP.regions:
        first, cells = cells_of(MAP, region, width)
        assert first >= 0 and cells >= 1 and first + cells <= width


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
