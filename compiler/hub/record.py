"""`ckpt/hyperdex_download.json`: what was downloaded, from which commit, and whether all of it.

A file whose size and modification time are those of the record is taken as
unchanged; any other is hashed.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from compiler.checkpoint.regular_file import find_file
from compiler.errors import ArtifactError, CheckpointError
from compiler.publish import publish_file
from compiler.strict_json import Fields, check_seal, load_object, seal_object

RECORD_NAME = "hyperdex_download.json"
FORMAT_VERSION = 2

_LIMIT_BYTES = 16 << 20
_MAX_FILES = 10_000
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub describes it: exactly one of the two hashes is known.

    Attributes:
        name: plain file name.
        size: bytes.
        sha256: hash of a file in large-file storage, or "".
        blob_id: git's SHA-1 of any other file, or "".
    """

    name: str
    size: int
    sha256: str
    blob_id: str

    @property
    def identity(self) -> str:
        """The hash that is known."""
        return self.sha256 or self.blob_id


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file as it was found whole; `sha256` is always known."""

    name: str
    size: int
    sha256: str
    blob_id: str
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Record:
    """A download.

    Attributes:
        model_id: repository.
        requested: revision as asked for, "main" when not.
        revision: commit it stood for.
        complete: every file is there.
        files: files that are whole, or, while not complete, that may be there.
    """

    model_id: str
    requested: str
    revision: str
    complete: bool
    files: tuple[RecordedFile, ...]

    def answers(self, revision: str | None) -> bool:
        """Whether it is complete and of the revision asked for, as far as known without the hub."""
        return self.complete and (revision or "main") in (self.requested, self.revision)


class Digest:
    """SHA-256 and git blob hash of `size` bytes that come in pieces."""

    def __init__(self, size: int) -> None:
        self._sha256 = hashlib.sha256()
        self._blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        """Take the next piece."""
        self._sha256.update(piece)
        self._blob.update(piece)

    @property
    def sha256(self) -> str:
        """SHA-256 so far, in hex."""
        return self._sha256.hexdigest()

    def matches(self, file: HubFile) -> bool:
        """Whether all pieces together are `file`."""
        return file.identity == (self.sha256 if file.sha256 else self._blob.hexdigest())


def read_record(ckpt: Path) -> Record | None:
    """Return the record in a folder; None when there is none.

    A record that cannot be read, or is of another version, stands for an
    incomplete download of nothing known.
    """
    try:
        return load_record(ckpt)
    except (CheckpointError, ArtifactError):
        return Record("", "", "", complete=False, files=())


def load_record(ckpt: Path) -> Record | None:
    """Return the record in a folder; None when there is none.

    Raises:
        ArtifactError: it is damaged, or of another version.
        CheckpointError: it cannot be read, or is no file of this folder.
    """
    file = find_file(ckpt, RECORD_NAME)
    if file is None:
        return None
    if file.size > _LIMIT_BYTES:
        raise ArtifactError(f"{RECORD_NAME} has {file.size} bytes, at most {_LIMIT_BYTES}", "remove it")
    content = file.content()
    fields = load_object(content, RECORD_NAME)
    fields.integer("format_version", FORMAT_VERSION, FORMAT_VERSION)
    record = Record(
        model_id=fields.text("model_id"),
        requested=fields.text("requested"),
        revision=fields.text("revision"),
        complete=fields.integer("complete", 0, 1) == 1,
        files=tuple(_recorded_file(entry) for entry in fields.objects("files", _MAX_FILES)),
    )
    check_seal(content, fields, "run the compile again without --offline")
    return record


def _recorded_file(fields: Fields) -> RecordedFile:
    name = fields.text("name", 255)
    if name != Path(name).name:
        raise ArtifactError(f"{RECORD_NAME} names {name!r}, which is not a plain file name")
    return RecordedFile(
        name=name,
        size=fields.integer("size", 0, 1 << 60),
        sha256=fields.text("sha256", 64),
        blob_id=fields.text("blob_id", 40),
        mtime_ns=fields.integer("mtime_ns", 0, 1 << 63),
    )


def write_record(ckpt: Path, record: Record) -> None:
    """Publish `record` in a folder."""
    fields = {"format_version": FORMAT_VERSION, **asdict(record), "complete": int(record.complete)}
    content = seal_object(fields)
    publish_file(ckpt / RECORD_NAME, lambda file: file.write(content), in_prefix=True)


def is_unchanged(ckpt: Path, file: RecordedFile) -> bool:
    """Whether a recorded file is still what it was."""
    try:
        found = find_file(ckpt, file.name)
        if found is None or found.size != file.size:
            return False
        return found.mtime_ns == file.mtime_ns or found.sha256() == file.sha256
    except CheckpointError:
        return False


def find_whole(ckpt: Path, file: HubFile, known: RecordedFile | None) -> RecordedFile | None:
    """Return the record of `file` when the folder already has it whole, else None."""
    try:
        found = find_file(ckpt, file.name)
        if found is None or found.size != file.size:
            return None
        if known is not None and known.mtime_ns == found.mtime_ns and known.size == file.size:
            same = known.sha256 == file.sha256 if file.sha256 else known.blob_id == file.blob_id
            return known if same else None
        digest = Digest(file.size)
        with found.open() as opened:
            for begin in range(0, file.size, _PIECE_BYTES):
                digest.update(opened.read(begin, min(_PIECE_BYTES, file.size - begin)))
    except CheckpointError:
        return None
    if not digest.matches(file):
        return None
    return RecordedFile(file.name, file.size, digest.sha256, file.blob_id, found.mtime_ns)
