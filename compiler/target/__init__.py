"""Devices: one TOML file each, every number with its source.

In: the name of a device. Out: a `Target`: capacity and bandwidth, which mapping
and lowering need, and the constants of the latency rules in `target.timing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from compiler.errors import UsageError
from compiler.memory_map import MAX_DEVICES
from compiler.opening import open_regular

TARGET_NAMES = ("u55c", "lpu-819", "lpu-1640", "lpu-3280")
DEFAULT_TARGET = "u55c"
_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Timing:
    """Constants of one device's clock; each with its source in the TOML.

    Attributes:
        hbm_efficiency: share of the peak bandwidth that streams reach.
        hbm_latency_cycles: request to first beat.
        fifo_bytes: how far streams may run ahead of the engines.
        multiply_cycles, add_cycles, exponential_cycles: depth of the FP16 units.
        retire_cycles: a result leaves its unit until one that waits for it starts.
        vxe_lanes: elements of a vector per cycle.
        vxe_pass_cycles: of one pass over a vector, beside its arithmetic.
        issue_cycles: of the ICP per instruction.
    """

    hbm_efficiency: float
    hbm_latency_cycles: int
    fifo_bytes: int
    multiply_cycles: int
    add_cycles: int
    exponential_cycles: int
    retire_cycles: int
    vxe_lanes: int
    vxe_pass_cycles: int
    issue_cycles: int


@dataclass(frozen=True, slots=True)
class Link:
    """The link between devices; each number with its source in the TOML.

    Attributes:
        topology: how devices are wired unless a build says otherwise; see `target.topology`.
        server_devices: cards of one server, which lines divide.
        port_bytes_per_s: of one of the two ports, in each direction.
        hop_cycles: from one device's packet to the next device's.
    """

    topology: str
    server_devices: int
    port_bytes_per_s: float
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
    """Load the description of a device, by its name or from a TOML file of one's own.

    Raises:
        UsageError: there is no such device or file, or its description is incomplete or contradictory.
    """
    from compiler.target.description import read_description

    if name in TARGET_NAMES:
        text = resources.files("compiler.target").joinpath("devices", f"{name}.toml").read_text(encoding="utf-8")
        return read_description(text, f"target {name}")
    if not name.endswith(".toml"):
        raise UsageError(f"target {name!r} is not one of {', '.join(TARGET_NAMES)} or a .toml file")
    try:
        with open_regular(Path(name)) as file:
            text = file.read(_LIMIT_BYTES + 1).decode("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"target file {name} cannot be read: {reason}") from None
    if len(text) > _LIMIT_BYTES:
        raise UsageError(f"target file {name} is larger than {_LIMIT_BYTES} bytes")
    return read_description(text, f"target file {name}")


def check_device_count(num_devices: int) -> int:
    """Return `num_devices` if that many devices can work as one.

    Raises:
        UsageError: outside 1..MAX_DEVICES.
    """
    if not 1 <= num_devices <= MAX_DEVICES:
        raise UsageError(f"number of devices {num_devices} is not in 1..{MAX_DEVICES}")
    return num_devices
