"""The operations of a command on its files, written down by the one who runs it and read by the one who judges."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that went through.

    Attributes:
        kind: as in `torture.interposer.KINDS`.
        path: the file or folder.
        details: offset and bytes of a write, length of a truncation, new path of a rename.
    """

    kind: str
    path: str
    details: tuple[Any, ...]


class Recorder:
    """Appends to a file that is not below the folder under observation."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._write = os.write

    def __call__(self, kind: str, path: str, details: tuple[Any, ...]) -> None:
        """Write down one operation."""
        self._write(self._descriptor, pickle.dumps((kind, path, details)))


def read_operations(path: Path) -> Iterator[Operation]:
    """The operations in order; the file is our own."""
    with path.open("rb") as file:
        while file.peek(1):
            yield Operation(*pickle.load(file))
