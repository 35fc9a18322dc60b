"""The link between devices: slices in flight, by tag.

All devices of this link live in one process and run in lockstep: a transmit
puts down one slice per device, a receive takes all of them.
"""

from __future__ import annotations

import numpy as np

from compiler.emulator.arithmetic import Vector
from compiler.emulator.trap import Trap


class LocalLink:
    """Slices between transmit and receive."""

    __slots__ = ("_in_flight", "num_devices")

    def __init__(self, num_devices: int) -> None:
        self.num_devices = num_devices
        self._in_flight: dict[int, list[Vector]] = {}

    def clear(self) -> None:
        """Drop whatever is in flight."""
        self._in_flight.clear()

    def transmit(self, tag: int, slices: list[Vector]) -> None:
        """Send one slice per device; they are copied."""
        if tag in self._in_flight:
            raise Trap(f"tag {tag} is transmitted again before it was received")
        self._in_flight[tag] = [part.copy() for part in slices]

    def receive(self, tag: int, length: int, devices: int) -> Vector:
        """The slices of all devices behind one another, in device order."""
        slices = self._in_flight.pop(tag, None)
        if slices is None:
            raise Trap(f"tag {tag} is received but was not transmitted")
        if slices[0].shape[0] != length:
            raise Trap(f"tag {tag}: {slices[0].shape[0]} elements were transmitted, {length} are received")
        if devices != self.num_devices:
            raise Trap(f"tag {tag}: {devices} slices are received, the machine has {self.num_devices} devices")
        return np.concatenate(slices)
