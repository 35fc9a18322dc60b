"""Whether a converted checkpoint still belongs to the files it was made from.

Hashes are remembered in `hyperdex_state.json` with size and modification time
of each file, so that the question costs nothing while nothing changed. That
file is a cache: damaged or missing, it is written anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from compiler.checkpoint.config import load_config
from compiler.checkpoint.converted import MODEL_NAME, SourceFile, fingerprint_of, load_converted
from compiler.checkpoint.regular_file import RegularFile, find_file
from compiler.checkpoint.shards import find_shards
from compiler.checkpoint.untrusted_json import MAX_JSON_BYTES
from compiler.errors import ArtifactError, CheckpointError, HyperDexError
from compiler.header import HEADER_BYTES, Payload, check_header
from compiler.publish import publish_file
from compiler.strict_json import dump_object, load_object

STATE_NAME = "hyperdex_state.json"
_MAX_FILES = 10_000


def checkpoint_fingerprint(folder: Path) -> str:
    """Return the fingerprint of the weights and config.json in `folder`, as `ConvertedModel.fingerprint`.

    Files that changed since they were last hashed are read (about 2 GB/s).

    Raises:
        CheckpointError: no weights, or files are missing or damaged.
    """
    return fingerprint_of(_source_files(folder), load_config(folder))


def is_up_to_date(folder: Path) -> tuple[bool, str]:
    """Tell whether `hyperdex_model.bin` and its JSON file are whole and made from the files in `folder`.

    Returns:
        The answer and, in a few words, why.
    """
    try:
        model = load_converted(folder)
        if model is None:
            return False, "not converted yet"
        check_model_file(folder, model.file_bytes, model.flags)
        files, config = _source_files(folder), load_config(folder)
    except HyperDexError as error:
        return False, error.problem
    if fingerprint_of(files, config) == model.fingerprint:
        return True, "up to date"
    before = {file.name: file.sha256 for file in model.files}
    changed = [file.name for file in files if before.pop(file.name, "") != file.sha256]
    if changed:
        return False, f"{changed[0]} changed" + (f", and {len(changed) - 1} more files" if len(changed) > 1 else "")
    return False, f"{min(before)} is gone" if before else "config.json changed"


def check_model_file(folder: Path, size: int, flags: int) -> None:
    """Check that `hyperdex_model.bin` has `size` bytes and the header that binds it to its JSON file.

    Raises:
        ArtifactError: it is missing, damaged or belongs to another conversion.
        CheckpointError: it cannot be read, or is no file of this folder.
    """
    path, file = folder / MODEL_NAME, find_file(folder, MODEL_NAME)
    if file is None:
        raise ArtifactError(f"{path} cannot be read: it is missing", "convert the model again")
    with file.open() as opened:
        found, header = file.size, opened.read(0, min(file.size, HEADER_BYTES))
    if check_header(header, Payload.MODEL, str(path)) != flags:
        raise ArtifactError(f"{path} belongs to another conversion than the JSON file", "convert the model again")
    if found != size:
        raise ArtifactError(f"{path} has {found} bytes, expected {size}", "convert the model again")


def remember_hashes(folder: Path, hashed: Sequence[tuple[RegularFile, str]]) -> None:
    """Write the hashes of files into `hyperdex_state.json`; a folder that cannot be written is left alone."""
    entries = [
        {"name": file.name, "size": file.size, "mtime_ns": file.mtime_ns, "sha256": sha256} for file, sha256 in hashed
    ]
    content = dump_object({"format_version": 1, "files": entries})
    with suppress(HyperDexError, OSError):
        publish_file(folder / STATE_NAME, lambda file: file.write(content))


def _source_files(folder: Path) -> tuple[SourceFile, ...]:
    shards = find_shards(folder)
    files = shards.files if shards.index is None else (*shards.files, shards.index)
    known = _known_hashes(folder)
    hashed = [(file, known.get(_key(file)) or file.sha256()) for file in files]
    if any(_key(file) not in known for file in files):
        remember_hashes(folder, hashed)
    return tuple(SourceFile(file.name, file.size, sha256) for file, sha256 in hashed)


def _key(file: RegularFile) -> tuple[str, int, int]:
    return (file.name, file.size, file.mtime_ns)


def _known_hashes(folder: Path) -> Mapping[tuple[str, int, int], str]:
    try:
        file = find_file(folder, STATE_NAME)
        if file is None or file.size > MAX_JSON_BYTES:
            return {}
        entries = load_object(file.content(), STATE_NAME).objects("files", _MAX_FILES)
        return {
            (entry.text("name"), entry.integer("size", 0, 1 << 62), entry.integer("mtime_ns", 0, 1 << 80)): entry.text(
                "sha256", 64
            )
            for entry in entries
        }
    except (ArtifactError, CheckpointError):
        return {}
