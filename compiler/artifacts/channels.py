"""Reads single bytes of the channels of a parameter folder, for whoever wants to see what lies at an address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from compiler.artifacts.manifest import param_file
from compiler.header import HEADER_BYTES

ReadBytes = Callable[[int, int, int, int], bytes]
"""(device, channel, address, count) -> bytes."""


@contextmanager
def channel_reader(folder: Path, num_devices: int) -> Iterator[ReadBytes]:
    """Open the channels as they are asked for; the files of one device stay open at a time."""
    with ExitStack() as opened:
        files: dict[tuple[int, int], BinaryIO] = {}

        def read(device: int, channel: int, address: int, count: int) -> bytes:
            if (device, channel) not in files:
                if files and next(iter(files))[0] != device:
                    opened.close()
                    files.clear()
                path = folder / param_file(num_devices, device, channel)
                files[device, channel] = opened.enter_context(path.open("rb", buffering=0))
            files[device, channel].seek(HEADER_BYTES + address)
            return files[device, channel].read(count)

        yield read
