"""The files of a build folder, opened so that nothing else is read.

A folder and a name -> a regular file of that folder, or an ArtifactError that says why there is
none. What somebody put in its place (a link that leads out, a pipe, a device) is refused by name.
Loads no numpy: the app lists builds with it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from compiler.artifacts.manifest import MANIFEST, FileEntry, Manifest
from compiler.checkpoint.regular_file import RegularFile, find_file
from compiler.errors import ArtifactError, CheckpointError
from compiler.strict_json import RECOMPILE

REPEAT = f"{RECOMPILE} with --force"
"""What the user can do about damage in place, which a compile takes no notice of in parameter files."""

_MANIFEST_BYTES = 16 << 20


def where_of(folder: Path, name: str) -> str:
    """A file of a build as messages name it."""
    return f"{folder.parent.name}/{folder.name}/{name}"


def find_build_file(folder: Path, name: str) -> RegularFile:
    """A file of a build folder.

    Raises:
        ArtifactError: there is none, or something else in its place.
    """
    try:
        file = find_file(folder, name)
    except CheckpointError as error:
        raise ArtifactError(f"{folder.parent.name}/{folder.name}/{error}") from None
    if file is None:
        raise ArtifactError(f"{where_of(folder, name)} cannot be read: it is missing", RECOMPILE)
    return file


def read_build_file(folder: Path, name: str, limit: int, entry: FileEntry | None = None) -> bytes:
    """All of a file of at most `limit` bytes; with an entry of a manifest, it must be the one that was written.

    Raises:
        ArtifactError: it is missing, too large, damaged, or cannot be read.
    """
    where, file = where_of(folder, name), find_build_file(folder, name)
    if file.size > limit:
        raise ArtifactError(f"{where} has {file.size} bytes, at most {limit} are allowed", RECOMPILE)
    if entry is not None and entry.size != file.size:
        raise ArtifactError(f"{where} has {file.size} bytes, the manifest says {entry.size}", RECOMPILE)
    content = read_begin(folder, file, file.size)
    if entry is not None and hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ArtifactError(f"{where} is damaged: its content does not match the manifest", REPEAT)
    return content


def read_begin(folder: Path, file: RegularFile, count: int) -> bytes:
    """The first `count` bytes of a file of a build folder.

    Raises:
        ArtifactError: it is shorter, or cannot be read.
    """
    try:
        with file.open() as opened:
            return opened.read(0, count)
    except CheckpointError as error:
        raise ArtifactError(f"{where_of(folder, str(error))}") from None


def read_manifest(folder: Path, kind: str) -> Manifest:
    """Read the manifest of a `kind` folder, "param" or "inst".

    Raises:
        ArtifactError: there is none, it cannot be read, or the folder is a link.
    """
    real = Path(os.path.realpath(folder))  # links in a circle lead to themselves
    if folder.is_symlink() or real != Path(os.path.realpath(folder.parent.parent)) / folder.parent.name / folder.name:
        raise ArtifactError(f"{folder} is a link to {real}", "move the folder itself there")
    return Manifest.from_json(read_build_file(folder, MANIFEST, _MANIFEST_BYTES), kind, where_of(folder, MANIFEST))
