"""Wirings: what a gather costs on rings and lines, and what cannot be wired."""

from __future__ import annotations

import pytest

from compiler.errors import UsageError
from compiler.isa.instructions import BY_MNEMONIC
from compiler.target import load_target
from compiler.target.timing import Work, rules_for
from compiler.target.topology import wire


def _gathered_by_walking(num_devices: int, ring: bool) -> tuple[int, float]:
    """Hops and the busiest wire of an all-gather, counted by sending every slice along its way in halves."""
    loads: dict[tuple[int, int], float] = {}
    farthest = 0
    for sender in range(num_devices):
        for receiver in range(num_devices):
            ways = [range(sender, receiver, 1 if receiver > sender else -1)]
            if ring:
                right = [(sender + step) % num_devices for step in range((receiver - sender) % num_devices)]
                left = [(sender - step) % num_devices for step in range((sender - receiver) % num_devices)]
                ways = [right, left] if len(right) == len(left) else [min(right, left, key=len)]
            farthest = max(farthest, max(len(way) for way in ways))
            for way in ways:
                for here in way[-1:]:  # the copy that this receiver keeps; those before pass the same one on
                    step = 1 if way in ([right] if ring else []) or (not ring and receiver > sender) else -1
                    loads[here, step] = loads.get((here, step), 0) + 1 / len(ways)
    return farthest, max(loads.values(), default=0)


@pytest.mark.parametrize("num_devices", [1, 3, 4, 5, 8])
def test_hops_and_load_are_those_of_slices_sent_one_by_one(num_devices: int) -> None:
    ring = wire("ring", num_devices, 8)
    assert (ring.hops, ring.slices) == _gathered_by_walking(num_devices, ring=True)
    if num_devices <= 4:
        line = wire("2-lines", num_devices, 8)
        assert (line.hops, line.slices) == _gathered_by_walking(num_devices, ring=False)


@pytest.mark.parametrize(
    ("topology", "num_devices", "message"),
    [
        ("2-lines", 8, "8 devices cannot be wired as 2-lines: each of 2 lines of a server has 4; use fewer devices"),
        ("4-lines", 3, "3 devices cannot be wired as 4-lines: each of 4 lines of a server has 2"),
        ("ring", 65, "65 devices cannot be wired as ring: a ring has at most 64"),
        ("star", 2, "topology 'star' is not one of ring, 2-lines, 4-lines"),
    ],
)
def test_what_cannot_be_wired_is_refused_in_one_line(topology: str, num_devices: int, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        wire(topology, num_devices, 8)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def _gather(topology: str, num_devices: int, length: int = 4096) -> Work:
    operands = {"length": length // num_devices}
    return rules_for(load_target("lpu-3280"), num_devices, 2, topology).work(
        BY_MNEMONIC["tx"], lambda name: operands.get(name, 0), 1
    )


def test_a_line_is_slower_than_a_ring_and_more_devices_are_slower_than_few() -> None:
    for num_devices in (2, 4):
        ring, line = _gather("ring", num_devices), _gather("2-lines", num_devices)
        assert ring.cycles < line.cycles
        assert ring.latency <= line.latency
    latencies = [_gather("ring", num_devices).latency for num_devices in (1, 2, 4, 8)]
    assert latencies == sorted(set(latencies))
