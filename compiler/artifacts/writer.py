"""Writes the files of a build into a folder that the caller publishes when it is whole.

Memory map, tensors, program, tables and debug information -> files, and a
manifest with size and hash of each, written last. Nothing written here
depends on the time or on where the folder is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from compiler.artifacts.activation import encode_tables
from compiler.artifacts.debug import debug_to_json
from compiler.artifacts.layout import memory_map_to_json
from compiler.artifacts.manifest import (
    DEBUG,
    MANIFEST,
    MEMORY_MAP,
    FileEntry,
    Manifest,
    activation_file,
    param_file,
    program_file,
)
from compiler.debug_info import DebugInfo
from compiler.header import Payload, write_header
from compiler.isa.spec import ISA_VERSION
from compiler.isa.tables import ActivationTable
from compiler.memory_map import MemoryMap

_ZEROS = bytes(1 << 16)


class _ChannelFile:
    """One parameter file, written front to back; gaps become zeros."""

    __slots__ = ("address", "digest", "file", "name")

    def __init__(self, name: str, file: BinaryIO, header: bytes) -> None:
        self.name = name
        self.file = file
        self.digest = hashlib.sha256(header)
        self.address = 0
        file.write(header)

    def write(self, content: bytes | memoryview) -> None:
        self.file.write(content)
        self.digest.update(content)
        self.address += len(content)

    def fill(self, address: int) -> None:
        """Write zeros up to `address`."""
        while self.address < address:
            self.write(_ZEROS[: min(len(_ZEROS), address - self.address)])


class ParamWriter:
    """The parameter files of one device, open for writing in ascending address order.

    Use as a context manager; on leaving it without an error the files are
    padded to equal size, and `entries` holds their sizes and hashes.
    """

    def __init__(self, folder: Path, memory_map: MemoryMap, device: int) -> None:
        self._memory_map = memory_map
        self._stack = ExitStack()
        self._channels: list[_ChannelFile] = []
        self.entries: tuple[FileEntry, ...] = ()
        header = write_header(Payload.PARAM, memory_map.dtype.code)
        with ExitStack() as opening:
            for channel in range(memory_map.channels):
                name = param_file(memory_map.num_devices, device, channel)
                file = opening.enter_context((folder / name).open("wb"))
                self._channels.append(_ChannelFile(name, file, header))
            self._stack = opening.pop_all()

    def write(self, address: int, content: Sequence[NDArray[np.generic]] | NDArray[np.generic]) -> None:
        """Write one contiguous array per channel, all at the same byte address.

        Args:
            address: not below the end of what was written before.
            content: channel-major, e.g. storage of the build dtype [32, elements].
        """
        for channel, array in zip(self._channels, content, strict=True):
            if address < channel.address:
                raise ValueError(f"{channel.name}: address {address} was already written")
            channel.fill(address)
            channel.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            if channel.address > self._memory_map.file_bytes:
                raise ValueError(f"{channel.name}: {channel.address} bytes, behind the end of the parameters")

    def __enter__(self) -> ParamWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                for channel in self._channels:
                    channel.fill(self._memory_map.file_bytes)
        header_bytes = len(write_header(Payload.PARAM))
        self.entries = tuple(
            FileEntry(channel.name, header_bytes + channel.address, channel.digest.hexdigest())
            for channel in self._channels
        )


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
        _write(folder, DEBUG, debug_to_json(debug)),
    )
    return _finish(folder, manifest, entries)


def _write(folder: Path, name: str, content: bytes) -> FileEntry:
    (folder / name).write_bytes(content)
    return FileEntry(name, len(content), hashlib.sha256(content).hexdigest())


def _finish(folder: Path, manifest: Manifest, entries: Sequence[FileEntry]) -> Manifest:
    complete = replace(manifest, files=tuple(sorted(entries, key=lambda entry: entry.name)))
    (folder / MANIFEST).write_bytes(complete.to_json())
    return complete
