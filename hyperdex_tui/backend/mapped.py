"""Files of a build, opened for looking into: small ones read, long ones mapped. Standard library only."""

from __future__ import annotations

import mmap
from pathlib import Path

from compiler.errors import ArtifactError
from compiler.strict_json import RECOMPILE


def read_file(path: Path, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes.

    Raises:
        ArtifactError: missing, unreadable or larger.
    """
    try:
        if path.stat().st_size > limit:
            raise ArtifactError(f"{path.name} is larger than {limit} bytes", RECOMPILE)
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path.name} cannot be read: {error.strerror}", RECOMPILE) from None


def map_file(path: Path) -> mmap.mmap:
    """A file as bytes that are read when they are looked at.

    Raises:
        ArtifactError: missing, unreadable or empty.
    """
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{path.name} cannot be mapped: {reason}", RECOMPILE) from None
