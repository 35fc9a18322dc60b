"""How devices are wired, and what a gather over the wires costs in hops and slices.

Every card has two ports, one to each neighbour, and each port sends and
receives at the same time. A server of eight cards is wired as one ring, as two
lines of four or as four lines of two (LPU paper, arXiv 2408.07326); the
devices of one build are neighbours on a line, or a ring of their own, in which
two are joined by both ports. Packets take the shorter way round a ring; a line
has no way round.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.errors import UsageError
from compiler.memory_map import MAX_DEVICES

_LINES = {"ring": 0, "2-lines": 2, "4-lines": 4}

TOPOLOGIES = tuple(_LINES)


@dataclass(frozen=True, slots=True)
class Wiring:
    """What an all-gather of N slices costs.

    Attributes:
        topology: one of `TOPOLOGIES`.
        hops: from a slice's device to the farthest other one.
        slices: that pass the busiest wire in one direction.
    """

    topology: str
    hops: int
    slices: float


def wire(topology: str, num_devices: int, server_devices: int) -> Wiring:
    """The wiring of the devices of one build.

    Args:
        server_devices: cards that a server divides into lines.

    Raises:
        UsageError: no such topology, or it cannot wire that many devices.
    """
    if topology not in _LINES:
        raise UsageError(f"topology {topology!r} is not one of {', '.join(TOPOLOGIES)}")
    lines = _LINES[topology]
    most = server_devices // lines if lines else MAX_DEVICES
    if not 1 <= num_devices <= most:
        what = f"each of {lines} lines of a server has {most}" if lines else f"a ring has at most {most}"
        advice = "use fewer devices, or --topology ring" if lines else "use fewer devices"
        raise UsageError(f"{num_devices} devices cannot be wired as {topology}: {what}", advice)
    if lines:
        return Wiring(topology, num_devices - 1, num_devices - 1)
    return Wiring(topology, num_devices // 2, (num_devices - 1) / 2)
