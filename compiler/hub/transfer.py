"""One file from the hub to the disk: resumed, verified, renamed when whole.

Bytes collect in `.NAME.HASH.part` beside the final place, so that what an
interrupted download got is used by the next one, and only for the same content.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

from compiler.errors import HubError
from compiler.hub.client import PIECE_BYTES, Client, pieces
from compiler.hub.record import Digest, HubFile, RecordedFile
from compiler.hub.refusals import Request, Transient
from compiler.publish import explain, sync_folder

_REAL_PROGRESS_BYTES = 64 << 20
"""An attempt that got this far does not count towards giving up."""


def fetch(client: Client, request: Request, file: HubFile, ckpt: Path, on_bytes: Callable[[int], None]) -> RecordedFile:
    """Download `file` into `ckpt`, replacing what is there.

    Args:
        client: the hub.
        request: the file at its commit.
        file: what must arrive.
        ckpt: existing folder.
        on_bytes: gets the number of bytes of this file on the disk so far; may go back.

    Raises:
        HubError: the hub refuses, is silent, or delivers something else.
        CapacityError: the disk is full.
        UsageError: the folder cannot be written.
    """
    part = _Part(ckpt / part_name(file), file.size)
    try:
        for last in (False, True):
            client.persist(request, lambda: _receive(client, request, part, on_bytes))
            if part.digest.matches(file):
                return part.publish(ckpt / file.name, file)
            part.restart()
            if not last:
                client.on_message(f"{request} arrived damaged, trying again from its beginning")
    finally:
        part.close()
    raise HubError(f"{request} arrived damaged twice: its hash is not {file.identity[:16]}...", "try again later")


def part_name(file: HubFile) -> str:
    """Name under which a file collects."""
    return f".{file.name}.{file.identity[:16]}.part"


def remove_parts(ckpt: Path) -> None:
    """Remove what unfinished downloads collected."""
    for path in ckpt.glob(".*.part"):
        with suppress(OSError):
            path.unlink()


def _receive(client: Client, request: Request, part: _Part, on_bytes: Callable[[int], None]) -> None:
    begin = part.have
    if begin == part.size:
        return
    with client.open(request, begin) as response:
        if begin and (response.status != 206 or not _continues(response.headers.get("Content-Range"), begin)):
            if response.status == 206:
                part.restart()
                raise Transient("it does not continue where asked", unreachable=False)
            part.restart()
            begin = 0
        announced = response.headers.get("Content-Length")
        if announced is not None and announced != str(part.size - begin):
            raise HubError(
                f"{request.host} announces {announced[:20]} bytes for {request}, its listing says {part.size - begin}",
                "try again later",
            )
        on_bytes(part.have)
        try:
            for piece in pieces(response, part.size - begin + 1, request):
                part.append(piece, request)
                on_bytes(part.have)
        except Transient as trouble:
            trouble.progressed = part.have - begin >= _REAL_PROGRESS_BYTES
            raise
    if part.have < part.size:
        reason = f"the connection closed after {part.have} of {part.size} bytes"
        raise Transient(reason, progressed=part.have - begin >= _REAL_PROGRESS_BYTES)


def _continues(content_range: str | None, begin: int) -> bool:
    return (content_range or "").startswith(f"bytes {begin}-")


def _open_part(path: Path) -> FileIO:
    """Open a part to read and append to; what somebody else put there is no part and is replaced.

    Raises:
        OSError: it cannot be made.
    """
    if os.path.lexists(path):
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            path.unlink()
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return FileIO(os.open(path, flags, 0o666), "a+")


class _Part:
    """The bytes of a file so far, on disk and in a running hash."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size, self.have = path, size, 0
        self.digest = Digest(size)
        try:
            self._file = _open_part(path)
            self._file.seek(0)
            while piece := self._file.read(PIECE_BYTES):
                self.digest.update(piece)
                self.have += len(piece)
        except OSError as error:
            raise explain(error, path) from error
        if self.have > size:
            self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self._file.truncate(0)
        self.digest, self.have = Digest(self.size), 0

    def append(self, piece: bytes, request: Request) -> None:
        """Take the next bytes; more than the file has are refused."""
        if self.have + len(piece) > self.size:
            raise HubError(f"{request.host} sends more than the {self.size} bytes of {request}", "try again later")
        try:
            written = 0
            while written < len(piece):
                written += self._file.write(piece[written:])
        except OSError as error:
            self._file.truncate(self.have)
            raise explain(error, self.path) from error
        self.digest.update(piece)
        self.have += len(piece)

    def publish(self, final: Path, file: HubFile) -> RecordedFile:
        """Make the bytes durable under their final name."""
        try:
            os.fsync(self._file.fileno())
            self.path.replace(final)
            sync_folder(final.parent)
            mtime_ns = final.stat().st_mtime_ns
        except OSError as error:
            raise explain(error, final) from error
        return RecordedFile(file.name, file.size, self.digest.sha256, file.blob_id, mtime_ns)

    def close(self) -> None:
        """Leave the bytes for a later download; an empty part is removed."""
        self._file.close()
        if self.have == 0:
            self.path.unlink(missing_ok=True)
