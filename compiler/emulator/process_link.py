"""The link between processes: one rank per device, slices over torch.distributed.

Started by torchrun, every rank runs the same program on its own device. A
transmit keeps this rank's slice, the receive with its tag gathers the slices
of all ranks in rank order: what `link.LocalLink` does, so the results are the
same bit for bit.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from compiler.emulator.arithmetic import Vector
from compiler.emulator.trap import Trap
from compiler.errors import UsageError
from compiler.quantity import counted
from compiler.sanitize import one_line

_ADVICE = "start as many processes as the build has devices: torchrun --nproc-per-node N"


def world() -> tuple[int, int]:
    """(rank, number of ranks) that torchrun gave this process; (0, 1) without torchrun.

    Raises:
        UsageError: RANK and WORLD_SIZE contradict each other.
    """
    rank, size = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    if not rank and not size:
        return 0, 1
    if not (rank.isascii() and rank.isdigit() and size.isascii() and size.isdigit() and int(rank) < int(size)):
        raise UsageError(f"RANK is {rank[:20]!r} and WORLD_SIZE {size[:20]!r}, not a rank below a number of ranks")
    return int(rank), int(size)


class ProcessLink:
    """This rank's end of the link.

    Args:
        num_devices: devices of the build; as many ranks must take part.

    Raises:
        UsageError: there are more or fewer ranks, or they cannot find each other.
    """

    def __init__(self, num_devices: int) -> None:
        rank, size = world()
        if size != num_devices:
            raise UsageError(
                f"{size} processes were started, the build is for {counted(num_devices, 'device')}", _ADVICE
            )
        self.num_devices = num_devices
        self.local = range(rank, rank + 1)
        self._slices: dict[int, Vector] = {}
        self._group = _join()

    @property
    def in_flight(self) -> bool:
        """Whether a slice waits for its receiver."""
        return bool(self._slices)

    def clear(self) -> None:
        """Drop whatever is in flight."""
        self._slices.clear()

    def transmit(self, tag: int, slices: list[Vector]) -> None:
        """Keep this rank's slice for the receive with the same tag."""
        if tag in self._slices:
            raise Trap(f"tag {tag} is transmitted again before it was received")
        self._slices[tag] = slices[0].copy()

    def receive(self, tag: int, length: int, devices: int) -> Vector:
        """The slices of all ranks behind one another, in rank order."""
        mine = self._slices.pop(tag, None)
        if mine is None:
            raise Trap(f"tag {tag} is received but was not transmitted")
        if mine.shape[0] != length:
            raise Trap(f"tag {tag}: {mine.shape[0]} elements were transmitted, {length} are received")
        if devices != self.num_devices:
            raise Trap(f"tag {tag}: {devices} slices are received, the machine has {self.num_devices} devices")
        return self._gather(mine)

    def _gather(self, mine: Vector) -> Vector:
        import torch

        parts = [torch.empty(mine.shape[0], dtype=torch.float32) for _ in range(self.num_devices)]
        try:
            self._group.all_gather(parts, torch.from_numpy(mine))
        except RuntimeError as error:
            raise Trap(f"another device is gone: {one_line(str(error), 200)}") from None
        return np.concatenate([part.numpy() for part in parts])


def leave() -> None:
    """Leave the group of ranks, if this process ever joined one."""
    if world()[1] > 1:
        import torch.distributed

        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _join() -> Any:
    """torch.distributed, with the gloo group of torchrun's ranks."""
    import torch.distributed as group

    if not group.is_initialized():
        try:
            group.init_process_group("gloo")
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"the processes do not find each other: {one_line(str(error), 200)}", _ADVICE) from None
    return group
