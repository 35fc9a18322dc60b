"""Whether the files a build was made from are still what they were, bit for bit.

In: a model folder and the manifest of the program. Out: one line, or the first file that differs.
Everything is read: the converted model, the weights it was made from, the small files beside them,
and, where the hub was asked, the record of the download.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.errors import ArtifactError, HyperDexError
from compiler.quantity import bytes_text, counted

if TYPE_CHECKING:
    from compiler.artifacts.manifest import Manifest
    from compiler.workspace import ModelFolder

_AGAIN = "compile the model again with --force"


def check_checkpoint(folder: ModelFolder, inst: Manifest) -> str:
    """Compare every file of the checkpoint with what was written down of it.

    Args:
        folder: the model.
        inst: manifest of the program, which lists the small files.

    Returns:
        What was read, for a person; a model without any checkpoint passes.

    Raises:
        ArtifactError, CheckpointError: naming the file that is damaged, gone or not the one that was compiled.
    """
    from compiler.checkpoint.converted import CONFIG_NAME, MODEL_NAME
    from compiler.hub.record import RECORD_NAME

    ckpt = folder.ckpt
    if not any(os.path.lexists(ckpt / name) for name in (CONFIG_NAME, MODEL_NAME, RECORD_NAME)):
        return "not here any more, not compared"
    known: dict[str, tuple[int, str]] = {}
    read = _converted(ckpt, known)
    for entry in inst.sources:
        known.setdefault(entry.name, (entry.size, entry.sha256))
    _compare(ckpt, known)
    _download(ckpt, known)
    return f"{counted(len(known) + 2, 'file')}, {bytes_text(read + sum(size for size, _ in known.values()))}"


def _converted(ckpt: Path, known: dict[str, tuple[int, str]]) -> int:
    """Check every byte of the converted model, add its sources to `known`, and return its size."""
    from compiler.checkpoint.binary import open_model

    model = open_model(ckpt)
    model.check_all()
    known |= {file.name: (file.size, file.sha256) for file in model.model.files}
    return model.model.file_bytes


def _compare(ckpt: Path, known: dict[str, tuple[int, str]]) -> None:
    from compiler.checkpoint.regular_file import find_file

    for name, (size, sha256) in known.items():
        file = find_file(ckpt, name) if name == Path(name).name else None
        if file is None:
            raise ArtifactError(f"ckpt/{name}, which the build was made from, is gone", "place it there again")
        if (file.size, file.sha256()) != (size, sha256):
            raise ArtifactError(f"ckpt/{name} is not what the build was made from", _AGAIN)


def _download(ckpt: Path, known: dict[str, tuple[int, str]]) -> None:
    """Check the record of the download, where there is one; it must speak of the same files."""
    from compiler.hub.record import load_record

    try:
        record = load_record(ckpt)
    except HyperDexError as error:
        raise ArtifactError(f"ckpt/{error}") from None
    for file in record.files if record is not None and record.complete else ():
        if file.name in known and known[file.name] != (file.size, file.sha256):
            raise ArtifactError(f"ckpt/{file.name} is not what was downloaded", _AGAIN)
