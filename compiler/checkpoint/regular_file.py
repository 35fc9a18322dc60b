"""Opening files of a model folder so that nothing outside it, and nothing but a file, is read.

In: a path. Out: a `RegularFile`, whose reads are bounded and whose failures are
CheckpointErrors. Links are followed as long as they end inside the model
folder, as those of the Hugging Face cache do.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from compiler.errors import CheckpointError

_RELOAD = "download the model again"
_HASH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class RegularFile:
    """A file as it was when it was listed.

    Attributes:
        name: path relative to the checkpoint folder, for messages.
        real: the file itself, without links.
        size: bytes.
        mtime_ns: modification time in nanoseconds.
        inode: device and inode number.
    """

    name: str
    real: Path
    size: int
    mtime_ns: int = field(compare=False)
    inode: tuple[int, int] = field(compare=False)

    @contextmanager
    def open(self) -> Iterator[OpenFile]:
        """Open for reading.

        Raises:
            CheckpointError: unreadable, or no longer the file that was listed.
        """
        try:
            descriptor = os.open(self.real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise CheckpointError(f"{self.name} cannot be opened: {error.strerror}") from None
        try:
            opened = OpenFile(self, descriptor)
            opened.check_unchanged()
            yield opened
        finally:
            os.close(descriptor)

    def content(self) -> bytes:
        """All of it; the caller bounds `size` first.

        Raises:
            CheckpointError: unreadable, or changed since it was listed.
        """
        with self.open() as opened:
            return opened.read(0, self.size)

    def sha256(self, on_bytes: Callable[[int], None] | None = None) -> str:
        """The hash of the content, in hex (about 2 GB/s).

        Args:
            on_bytes: gets the size of every piece read.

        Raises:
            CheckpointError: unreadable, or changed meanwhile.
        """
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(min(_HASH_BYTES, self.size)))
        with self.open() as opened:
            for begin in range(0, self.size, _HASH_BYTES):
                piece = buffer[: min(_HASH_BYTES, self.size - begin)]
                opened.read_into(piece, begin)
                digest.update(piece)
                if on_bytes is not None:
                    on_bytes(len(piece))
            opened.check_unchanged()
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open RegularFile; offsets are absolute and reads never short."""

    file: RegularFile
    descriptor: int

    def read_into(self, target: memoryview, begin: int) -> None:
        """Fill `target` with the bytes from offset `begin`.

        Raises:
            CheckpointError: the file ends before, or cannot be read.
        """
        done = 0
        while done < len(target):
            try:
                count = os.preadv(self.descriptor, [target[done:]], begin + done)
            except OSError as error:
                raise CheckpointError(f"{self.file.name} cannot be read at byte {begin}: {error.strerror}") from None
            if count == 0:
                raise CheckpointError(
                    f"{self.file.name} ends at byte {begin + done}, expected {self.file.size}: it was truncated",
                    _RELOAD,
                )
            done += count

    def read(self, begin: int, count: int) -> bytes:
        """Return `count` bytes from offset `begin`; the caller bounds `count`.

        Raises:
            CheckpointError: the file ends before, or cannot be read.
        """
        if begin + count > self.file.size:
            raise CheckpointError(f"{self.file.name} has {self.file.size} bytes, expected {begin + count}", _RELOAD)
        content = bytearray(count)
        self.read_into(memoryview(content), begin)
        return bytes(content)

    def check_unchanged(self) -> None:
        """Check that the file is still the one that was listed.

        Raises:
            CheckpointError: it was replaced or written to.
        """
        now = os.fstat(self.descriptor)
        if (now.st_dev, now.st_ino) != self.file.inode or (now.st_size, now.st_mtime_ns) != (
            self.file.size,
            self.file.mtime_ns,
        ):
            raise CheckpointError(f"{self.file.name} changed while it was being read", "let its writer finish first")


def find_file(folder: Path, name: str) -> RegularFile | None:
    """Look up a file of a checkpoint folder.

    Args:
        folder: the checkpoint; when it is called `ckpt`, the folder above is the model's.
        name: a plain file name.

    Returns:
        The file, or None where there is none (a dangling link counts as none).

    Raises:
        CheckpointError: it is not a regular file, or a link leaves the model folder.
    """
    path = folder / name
    try:
        real = path.resolve(strict=True)
        found = real.stat()
        inside = real.is_relative_to(folder.resolve()) or real.is_relative_to(_model_folder(folder).resolve())
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise CheckpointError(f"{name} cannot be opened: {error}", "copy the file itself there") from None
    if not inside:
        raise CheckpointError(f"{name} is a link to {real}, outside the model folder {folder}", "copy the file instead")
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointError(
            f"{name} in {folder} is {_kind(found.st_mode)}, expected a regular file", "copy the file itself there"
        )
    return RegularFile(name, real, found.st_size, found.st_mtime_ns, (found.st_dev, found.st_ino))


def _model_folder(folder: Path) -> Path:
    return folder.absolute().parent if folder.name == "ckpt" else folder


def _kind(mode: int) -> str:
    for test, name in ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket")):
        if test(mode):
            return name
    return "a device"
