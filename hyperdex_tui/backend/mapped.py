"""Files of a build, opened for looking into: small ones read, long ones piece by piece. Standard library only.

The app reads long files by `FileBytes`: one that is cut short meanwhile is an error there, where a mapping ends the
process. Processes of their own, which may end, map them.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from compiler.artifacts.files import find_build_file, read_build_file
from compiler.errors import ArtifactError
from compiler.opening import open_regular
from compiler.strict_json import RECOMPILE


def read_file(path: Path, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes.

    Raises:
        ArtifactError: missing, unreadable or larger.
    """
    return read_build_file(path.parent, path.name, limit)


def map_file(path: Path) -> mmap.mmap:
    """A file as bytes that are read when they are looked at.

    Raises:
        ArtifactError: missing, unreadable or empty.
    """
    found = find_build_file(path.parent, path.name)
    try:
        with open_regular(found.real, follow=False) as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{path.name} cannot be mapped: {reason}", RECOMPILE) from None


class FileBytes:
    """A file as bytes, each slice read when it is asked for; a file that is replaced stays the one that was opened.

    Raises:
        ArtifactError: missing, unreadable or empty.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        try:
            self._descriptor = os.open(
                find_build_file(path.parent, path.name).real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            )
        except OSError as error:
            raise ArtifactError(f"{path.name} cannot be read: {error.strerror}", RECOMPILE) from None
        self._size = os.fstat(self._descriptor).st_size
        if not self._size:
            self.close()
            raise ArtifactError(f"{path.name} is empty", RECOMPILE)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        """Bytes of a slice without a step.

        Raises:
            ArtifactError: the file has been cut short, or cannot be read.
        """
        begin, end, _ = part.indices(self._size)
        try:
            found = os.pread(self._descriptor, end - begin, begin) if begin < end else b""
        except OSError as error:
            raise ArtifactError(f"{self._name} cannot be read: {error.strerror}", RECOMPILE) from None
        if len(found) < end - begin:
            raise ArtifactError(f"{self._name} was cut short while it was looked into", RECOMPILE)
        return found

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def mark_of(path: Path) -> str:
    """What tells a file from another one under its name, and from itself with other content; "" without a file."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
