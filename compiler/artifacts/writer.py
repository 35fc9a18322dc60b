"""Writes the files of a build into a folder that the caller publishes when it is whole.

Memory map, tensors, program, tables and debug information -> files, and a
manifest with size and hash of each, written last. Nothing written here
depends on the time or on where the folder is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from compiler.artifacts.activation import encode_tables
from compiler.artifacts.debug import debug_to_bytes
from compiler.artifacts.layout import memory_map_to_json
from compiler.artifacts.manifest import (
    MANIFEST,
    MEMORY_MAP,
    FileEntry,
    Manifest,
    activation_file,
    debug_file,
    param_file,
    program_file,
)
from compiler.debug_info import DebugInfo
from compiler.header import Payload, write_header
from compiler.isa.spec import ISA_VERSION
from compiler.isa.tables import ActivationTable
from compiler.memory_map import MemoryMap
from compiler.writeback import EarlyWriteback

_ZEROS = bytes(1 << 16)
_BUFFER_BYTES = 1 << 16
"""Of one parameter file; larger pieces bypass it."""

_THREADS = 2
"""Each writes and hashes the same channels from first to last. Four were slower than two: they meet in the
kernel, where page cache is allocated."""


class _ChannelFile:
    """One parameter file, written front to back; gaps become zeros."""

    __slots__ = ("_end", "_writeback", "address", "digest", "file", "name")

    def __init__(self, name: str, file: BinaryIO, header: bytes) -> None:
        self.name = name
        self.file = file
        self.digest = hashlib.sha256(header)
        self.address = 0
        self._end = len(header)
        self._writeback = EarlyWriteback(file.fileno())
        file.write(header)

    def write(self, address: int, content: bytes | memoryview) -> None:
        """Write zeros up to `address`, and then `content`."""
        while self.address < address:
            self._append(_ZEROS[: min(len(_ZEROS), address - self.address)])
        self._append(content)

    def finish(self, address: int) -> None:
        """Write zeros up to `address`, the last of the file."""
        self.write(address, b"")
        self.file.flush()
        self._writeback.start()

    def _append(self, content: bytes | memoryview) -> None:
        self.file.write(content)
        self.digest.update(content)
        self.address += len(content)
        self._writeback.wrote(self._end, self._end + len(content))
        self._end += len(content)


class ParamWriter:
    """The parameter files of one device, open for writing in ascending address order.

    Writing and hashing run in threads, at most one piece behind the caller; a failed
    write is raised by a later call. Use as a context manager; on leaving it without an
    error the files are padded to equal size, and `entries` holds their sizes and hashes.
    """

    def __init__(self, folder: Path, memory_map: MemoryMap, device: int) -> None:
        self._memory_map = memory_map
        self._stack = ExitStack()
        self._channels: list[_ChannelFile] = []
        self._address = 0
        self._running: list[Future[None]] = []
        self.entries: tuple[FileEntry, ...] = ()
        header = write_header(Payload.PARAM, memory_map.dtype.code)
        with ExitStack() as opening:
            for channel in range(memory_map.channels):
                name = param_file(memory_map.num_devices, device, channel)
                file = opening.enter_context((folder / name).open("wb", buffering=_BUFFER_BYTES))
                self._channels.append(_ChannelFile(name, file, header))
            self._pools = [
                opening.enter_context(ThreadPoolExecutor(1, thread_name_prefix="channels")) for _ in range(_THREADS)
            ]
            self._stack = opening.pop_all()

    def write(self, address: int, content: Sequence[NDArray[np.generic]] | NDArray[np.generic]) -> None:
        """Write one contiguous array per channel, all at the same byte address.

        Args:
            address: not below the end of what was written before.
            content: channel-major, e.g. storage of the build dtype [32, elements]; not to be changed afterwards.
        """
        first = self._channels[0].name
        if address < self._address:
            raise ValueError(f"{first}: address {address} was already written")
        self._address = address + max(array.nbytes for array in content)
        if self._address > self._memory_map.file_bytes:
            raise ValueError(f"{first}: {self._address} bytes, behind the end of the parameters")
        if len(content) != len(self._channels):
            raise ValueError(f"{first}: {len(content)} arrays for {len(self._channels)} channels")
        self._in_threads(lambda channel, index: channel.write(address, _raw(content[index])))

    def __enter__(self) -> ParamWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                self._in_threads(lambda channel, _: channel.finish(self._memory_map.file_bytes))
                _wait(self._running)
        header_bytes = len(write_header(Payload.PARAM))
        self.entries = tuple(
            FileEntry(channel.name, header_bytes + channel.address, channel.digest.hexdigest())
            for channel in self._channels
        )

    def _in_threads(self, write: Callable[[_ChannelFile, int], None]) -> None:
        """Have `write` called with every channel and its number, once the call before this one is through."""

        def write_every(first: int) -> None:
            for index in range(first, len(self._channels), _THREADS):
                write(self._channels[index], index)

        before, self._running = self._running, []
        self._running = [pool.submit(write_every, first) for first, pool in enumerate(self._pools)]
        _wait(before)


def _wait(running: Sequence[Future[None]]) -> None:
    for future in running:
        future.result()


def _raw(array: NDArray[np.generic]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def write_param_build(
    folder: Path, manifest: Manifest, memory_map: MemoryMap, fill: Callable[[int, ParamWriter], None]
) -> Manifest:
    """Write all parameter files, the memory map and the manifest of a parameter build.

    Args:
        folder: empty folder, published by the caller.
        manifest: of kind "param", without files.
        memory_map: the map of the build.
        fill: called once per device with (device, writer); writes every region.

    Returns:
        The manifest as written.
    """
    entries: list[FileEntry] = []
    for device in range(memory_map.num_devices):
        with ParamWriter(folder, memory_map, device) as writer:
            fill(device, writer)
        entries.extend(writer.entries)
    return write_param_manifest(folder, manifest, memory_map, entries)


def write_param_manifest(
    folder: Path, manifest: Manifest, memory_map: MemoryMap, entries: Sequence[FileEntry]
) -> Manifest:
    """Write memory_map.json and, last, manifest.json beside parameter files that exist already."""
    map_entry = _write(folder, MEMORY_MAP, memory_map_to_json(memory_map))
    return _finish(folder, manifest, (*entries, map_entry))


def write_inst_build(
    folder: Path, manifest: Manifest, words: bytes, tables: Sequence[ActivationTable], debug: DebugInfo
) -> Manifest:
    """Write program, tables, debug information and the manifest of an instruction build.

    Args:
        folder: empty folder, published by the caller.
        manifest: of kind "inst", without files.
        words: the program as `isa.encode.encode_program` gives it.
        tables: activation tables, table 1 first; as many as the manifest names.
        debug: what stands behind each instruction.

    Returns:
        The manifest as written.
    """
    num = manifest.num_devices
    entries = (
        _write(folder, program_file(num), write_header(Payload.PROGRAM, ISA_VERSION) + words),
        _write(folder, activation_file(num), encode_tables(tables)),
        _write(folder, debug_file(num), debug_to_bytes(debug)),
    )
    return _finish(folder, manifest, entries)


def _write(folder: Path, name: str, content: bytes) -> FileEntry:
    (folder / name).write_bytes(content)
    return FileEntry(name, len(content), hashlib.sha256(content).hexdigest())


def _finish(folder: Path, manifest: Manifest, entries: Sequence[FileEntry]) -> Manifest:
    complete = replace(manifest, files=tuple(sorted(entries, key=lambda entry: entry.name)))
    (folder / MANIFEST).write_bytes(complete.to_json())
    return complete
