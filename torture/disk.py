"""A disk that loses its power: what of a folder is there again, given what was synced.

In: a folder as it was (all of it durable) and the operations of a program on it. Out: folders
as they may be found after the power failed. The model is the one of POSIX at its worst: the
content of a file is durable when the file was synced, the names in a folder when the folder
was synced. What was not synced may be there, or half of it, or not; renames and removals
within one folder become durable in their order.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torture.recorded import Operation

MODES = ("only what was synced", "all names, only synced content", "any of it")


@dataclass
class _File:
    """Content now, and as it was when the file was last synced."""

    now: bytearray
    synced: bytes


@dataclass
class _Folder:
    """Names now, and as they were at each change since the folder was last synced; the first is durable."""

    now: dict[str, Any] = field(default_factory=dict)
    versions: list[dict[str, Any]] = field(default_factory=lambda: [{}])

    def changed(self) -> None:
        self.versions.append(dict(self.now))

    def sync(self) -> None:
        self.versions = [dict(self.now)]


class Disk:
    """The tree below one folder.

    Args:
        root: the folder as it is; everything in it counts as durable.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tree = _read(root)

    def apply(self, operation: Operation) -> None:
        """Do what a program did."""
        kind, details = operation.kind, operation.details
        parent, name = self._locate(operation.path)
        if kind == "create":
            self._set(parent, name, _File(bytearray(), b""))
        elif kind == "mkdir":
            self._set(parent, name, _Folder())
        elif kind in ("unlink", "rmdir"):
            self._set(parent, name, None)
        elif kind == "rename":
            moved = parent.now[name]
            self._set(parent, name, None)
            self._set(*self._locate(details[0]), moved)
        elif kind == "fsync":
            self._sync(parent, name)
        elif kind in ("write", "truncate"):
            file = parent.now.get(name)
            if isinstance(file, _File):  # else it was removed while it was open
                _edit(file.now, kind, details)

    def crash(self, target: Path, mode: str, chosen: random.Random) -> None:
        """Write the tree as it may be found into the folder `target`, which must not exist."""
        _write(self._tree, target, mode, chosen)

    def _locate(self, path: str) -> tuple[_Folder, str]:
        """The folder that holds a path, and its name there; the root itself has the name ""."""
        parts = Path(path).relative_to(self._root.resolve()).parts
        folder = self._tree
        for part in parts[:-1]:
            folder = folder.now[part]
        return folder, parts[-1] if parts else ""

    @staticmethod
    def _set(folder: _Folder, name: str, node: _File | _Folder | None) -> None:
        if node is None:
            folder.now.pop(name, None)
        else:
            folder.now[name] = node
        folder.changed()

    @staticmethod
    def _sync(parent: _Folder, name: str) -> None:
        node = parent.now.get(name) if name else parent
        if isinstance(node, _Folder):
            node.sync()
        elif node is not None:
            node.synced = bytes(node.now)


def replay(root: Path, operations: Iterable[Operation], count: int) -> Disk:
    """The disk after the first `count` operations on the folder `root`."""
    disk = Disk(root)
    for index, operation in enumerate(operations):
        if index == count:
            break
        disk.apply(operation)
    return disk


def _edit(content: bytearray, kind: str, details: tuple[Any, ...]) -> None:
    if kind == "truncate":
        (length,) = details
        del content[length:]
        content.extend(bytes(length - len(content)))
        return
    offset, piece = details
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(piece)] = piece


def _read(path: Path) -> _Folder:
    folder = _Folder()
    for entry in path.iterdir():
        content = b"" if entry.is_dir() else entry.read_bytes()
        folder.now[entry.name] = _read(entry) if entry.is_dir() else _File(bytearray(content), content)
    folder.sync()
    return folder


def _write(folder: _Folder, target: Path, mode: str, chosen: random.Random) -> None:
    target.mkdir()
    versions = {MODES[0]: folder.versions[0], MODES[1]: folder.now}
    for name, node in versions.get(mode, chosen.choice(folder.versions)).items():
        if isinstance(node, _Folder):
            _write(node, target / name, mode, chosen)
        else:
            half = bytes(node.now[: len(node.now) // 2]).ljust(len(node.now), b"\0")
            maybe = chosen.choice([node.synced, bytes(node.now), half if node.now != node.synced else node.synced])
            (target / name).write_bytes(maybe if mode == MODES[2] else node.synced)
