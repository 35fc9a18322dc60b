"""Files of a build, opened for looking into: small ones read, long ones mapped. Standard library only."""

from __future__ import annotations

import mmap
from pathlib import Path

from compiler.artifacts.files import find_build_file, read_build_file
from compiler.errors import ArtifactError
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
        with found.real.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{path.name} cannot be mapped: {reason}", RECOMPILE) from None
