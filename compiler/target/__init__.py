"""Devices: one TOML file each, every number with its source.

In: the name of a device. Out: a `Target`: capacity and bandwidth, which mapping
and lowering need, and the constants of the latency rules in `target.timing`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from compiler.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TARGET_NAMES = ("u55c", "lpu-819", "lpu-1640", "lpu-3280")
DEFAULT_TARGET = "u55c"
DEVICE_LIMIT = 64
"""Most devices that work as one."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Constants of one device's clock; each with its source in the TOML.

    Attributes:
        hbm_efficiency: share of the peak bandwidth that streams reach.
        hbm_latency_cycles: request to first beat.
        fifo_bytes: how far streams may run ahead of the engines.
        sxe_latency_cycles: last tile of a matrix to a result that may be read.
        vxe_lanes: elements of a vector per cycle.
        vxe_latency_cycles: of one pass over a vector.
        issue_cycles: of the ICP per instruction.
    """

    hbm_efficiency: float
    hbm_latency_cycles: int
    fifo_bytes: int
    sxe_latency_cycles: int
    vxe_lanes: int
    vxe_latency_cycles: int
    issue_cycles: int


@dataclass(frozen=True, slots=True)
class Link:
    """The link between devices; each number with its source in the TOML."""

    topology: str
    bytes_per_s: float
    hop_cycles: int
    header_bytes: int
    packet_bytes: int


@dataclass(frozen=True, slots=True)
class Target:
    """One device.

    Attributes:
        clock_hz: clock of the engines.
        trees: MAC trees; one tile of `tree_width` rows by `trees` columns per cycle.
        channels: HBM channels, each with its own parameter file.
        hbm_bytes: HBM capacity of one device.
        burst_bytes: alignment of every HBM region within a channel.
        lmu_bytes: capacity of the vector register file.
        watts: power of one device with its share of the system.
        timing: constants of the clock.
        link: the link between devices.
        sources: where each group of numbers comes from.
    """

    name: str
    title: str
    clock_hz: float
    trees: int
    tree_width: int
    channels: int
    hbm_bytes: int
    hbm_bytes_per_s: float
    burst_bytes: int
    lmu_bytes: int
    watts: float
    timing: Timing
    link: Link
    sources: tuple[tuple[str, str], ...]

    @property
    def channel_bytes(self) -> int:
        """Capacity of one channel, a multiple of a burst."""
        return self.hbm_bytes // self.channels // self.burst_bytes * self.burst_bytes


@cache
def load_target(name: str) -> Target:
    """Load the description of a device.

    Raises:
        UsageError: there is no device of that name.
    """
    if name not in TARGET_NAMES:
        raise UsageError(f"target {name!r} is not one of {', '.join(TARGET_NAMES)}")
    text = resources.files("compiler.target").joinpath("devices", f"{name}.toml").read_text(encoding="utf-8")
    return _target(tomllib.loads(text))


def _target(loaded: Mapping[str, Any]) -> Target:
    compute, hbm = loaded["compute"], loaded["hbm"]
    groups = ("compute", "hbm", "lmu", "power")
    return Target(
        name=loaded["name"],
        title=loaded["title"],
        clock_hz=float(compute["clock_hz"]),
        trees=compute["trees"],
        tree_width=compute["tree_width"],
        channels=hbm["channels"],
        hbm_bytes=hbm["capacity_bytes"],
        hbm_bytes_per_s=float(hbm["bandwidth_bytes_per_s"]),
        burst_bytes=hbm["burst_bytes"],
        lmu_bytes=loaded["lmu"]["capacity_bytes"],
        watts=float(loaded["power"]["watts"]),
        timing=Timing(**_numbers(loaded["timing"])),
        link=Link(**_numbers(loaded["link"])),
        sources=tuple((group, loaded[group]["source"]) for group in groups) + _sources(loaded),
    )


def _numbers(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != "sources"}


def _sources(loaded: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The source of every constant of the clock and the link.

    Raises:
        UsageError: a constant has none.
    """
    found = []
    for group in ("timing", "link"):
        sources = loaded[group]["sources"]
        for key in _numbers(loaded[group]):
            if key not in sources:
                raise UsageError(f"target {loaded['name']}: {group}.{key} has no source")
            found.append((f"{group}.{key}", sources[key]))
    return tuple(found)


def check_device_count(num_devices: int) -> int:
    """Return `num_devices` if that many devices can work as one.

    Raises:
        UsageError: outside 1..DEVICE_LIMIT.
    """
    if not 1 <= num_devices <= DEVICE_LIMIT:
        raise UsageError(f"{num_devices} devices: the number must be from 1 to {DEVICE_LIMIT}")
    return num_devices
