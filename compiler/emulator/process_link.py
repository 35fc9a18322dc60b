"""The link between processes: one rank per device, slices over torch.distributed.

Started by torchrun, every rank runs the same program on its own device. A
transmit keeps this rank's slice, the receive with its tag gathers the slices
of all ranks in rank order: what `link.LocalLink` does, so the results are the
same bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from hashlib import sha256
from threading import Thread
from typing import Any

import numpy as np

from compiler.emulator.arithmetic import Vector
from compiler.emulator.trap import Trap
from compiler.errors import UsageError
from compiler.quantity import counted
from compiler.sanitize import one_line

_PATIENCE_S = 10.0
"""How long the others may take to start before this process says that it waits for them."""

_POLL_S = 0.2
_DIGEST_BYTES = 32
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
        waiting: called with the address where they meet when the others are not there for a while.

    Raises:
        UsageError: there are more or fewer ranks, or they cannot find each other.
    """

    def __init__(self, num_devices: int, waiting: Callable[[str], None] = lambda _address: None) -> None:
        rank, size = world()
        if size != num_devices:
            raise UsageError(
                f"{size} processes were started, the build is for {counted(num_devices, 'device')}", _ADVICE
            )
        self.num_devices = num_devices
        self.local = range(rank, rank + 1)
        self._slices: dict[int, Vector] = {}
        self._group = _join(waiting)

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

    def agree(self, settings: Mapping[str, object]) -> None:
        """Compare with all ranks what each was started with: slices of different runs would mix to wrong tokens.

        Args:
            settings: values that print by their content, by what a message calls them; the same names on every rank.

        Raises:
            UsageError: naming those that differ, or a rank that went away.
        """
        import torch

        digests = b"".join(sha256(repr(value).encode()).digest() for value in settings.values())
        mine = torch.frombuffer(bytearray(digests), dtype=torch.uint8)
        parts = [torch.empty_like(mine) for _ in range(self.num_devices)]
        try:
            self._group.all_gather(parts, mine)
        except RuntimeError:
            raise UsageError("another process ended before the first token", "its own message says why") from None
        found = [bytes(part.tolist()) for part in parts]
        pieces = [slice(at, at + _DIGEST_BYTES) for at in range(0, len(digests), _DIGEST_BYTES)]
        differing = [
            name for name, piece in zip(settings, pieces, strict=True) if len({each[piece] for each in found}) > 1
        ]
        if differing:
            raise UsageError(f"the processes differ in {' and '.join(differing)}", "start all with the same arguments")

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


def _join(waiting: Callable[[str], None]) -> Any:
    """torch.distributed, with the gloo group of torchrun's ranks.

    The library waits for the other ranks for half an hour, deaf to signals. It does so in a thread of its own, which
    ends with the process.
    """
    import torch.distributed as group

    failures: list[Exception] = []

    def meet() -> None:
        try:
            group.init_process_group("gloo")
        except Exception as error:
            failures.append(error)

    if not group.is_initialized():
        thread = Thread(target=meet, daemon=True)
        thread.start()
        thread.join(_PATIENCE_S)
        if thread.is_alive():
            waiting(":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT")))
        while thread.is_alive():
            thread.join(_POLL_S)
        if failures:
            reason = one_line(str(failures[0]), 200)
            raise UsageError(f"the processes do not find each other: {reason}", _ADVICE) from None
    return group
