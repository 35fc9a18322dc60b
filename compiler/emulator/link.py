"""The link between devices: slices in flight, by tag.

All devices of `LocalLink` live in one process and run in lockstep: a transmit
puts down one slice per device, a receive takes all of them. `process_link` is
the same between processes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from compiler.emulator.arithmetic import Vector
from compiler.emulator.trap import Trap


class Link(Protocol):
    """What transmit and receive need.

    Attributes:
        num_devices: all devices of the build.
        local: the devices of this process, whose slices `transmit` gets.
        in_flight: whether something was transmitted and not yet received.
    """

    num_devices: int
    local: range

    @property
    def in_flight(self) -> bool: ...

    def clear(self) -> None:
        """Drop whatever is in flight."""

    def transmit(self, tag: int, slices: list[Vector]) -> None:
        """Send one slice per local device; they are copied."""

    def receive(self, tag: int, length: int, devices: int) -> Vector:
        """The slices of all devices behind one another, in device order."""


class LocalLink:
    """Slices between transmit and receive."""

    __slots__ = ("_in_flight", "local", "num_devices")

    def __init__(self, num_devices: int) -> None:
        self.num_devices = num_devices
        self.local = range(num_devices)
        self._in_flight: dict[int, list[Vector]] = {}

    @property
    def in_flight(self) -> bool:
        """Whether a slice waits for its receiver."""
        return bool(self._in_flight)

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
