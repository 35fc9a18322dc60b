"""Files and folders that appear whole or not at all. Standard library only.

New content is written beside its final place as `.NAME.tmp-*`, synced, and
renamed. A folder that is replaced steps aside as `.NAME.old-*` first. What a
crash leaves of either is restored or removed by the next publish of NAME.
While it is written, new content is held with a kernel lock, so that leftovers
are told from work in progress. Permissions follow the umask.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from compiler.errors import CapacityError, HyperDexError, UsageError

_CHUNK_BYTES = 1 << 20
_UNLOCKABLE_AGE_S = 86400.0
"""Where the file system has no locks, leftovers are removed when older than this."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def sha256_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file in hex; `on_bytes` gets the size of every piece read.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
            if on_bytes is not None:
                on_bytes(len(piece))
    return digest.hexdigest()


def free_bytes(path: Path) -> int:
    """Free bytes for this user on the file system that holds, or would hold, `path`."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def ensure_free_space(path: Path, needed_bytes: int) -> None:
    """Check that `needed_bytes` more fit on the file system of `path`.

    Raises:
        CapacityError: they do not.
    """
    free = free_bytes(path)
    if needed_bytes > free:
        raise CapacityError(
            f"{path} needs {_gigabytes(needed_bytes)}, {_gigabytes(free)} are free",
            "free some space or choose another --prefix",
        )


def make_folder(path: Path) -> None:
    """Create a folder and its parents where they do not exist.

    Raises:
        UsageError: the place is read-only or taken by a file.
        CapacityError: the disk is full.
    """
    with _explained(path):
        path.mkdir(parents=True, exist_ok=True)


def publish_file(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Create or replace `path` with what `write` puts into the open file.

    Raises:
        UsageError: the folder is read-only.
        CapacityError: the disk is full.
    """
    make_folder(path.parent)
    recover(path)
    temporary, descriptor = _create(path, folder=False)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with _explained(path, only_full=True):
                write(file)
            with _explained(path):
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


@contextmanager
def publish_folder(final: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `final`, replacing it, when the block succeeds.

    Raises:
        UsageError: the parent folder is read-only.
        CapacityError: the disk is full.
    """
    make_folder(final.parent)
    recover(final)
    temporary, descriptor = _create(final, folder=True)
    try:
        with _explained(final, only_full=True):
            yield temporary
        with _explained(final):
            _sync_tree(temporary)
            _swap_in(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)


def recover(final: Path) -> None:
    """Restore or remove what an interrupted publish of `final` left behind."""
    parent, name = final.parent, final.name
    with _explained(final):
        present = sorted(entry.name for entry in os.scandir(parent)) if parent.is_dir() else []
        for old in (entry for entry in present if entry.startswith(f".{name}.old-")):
            if final.exists():
                _remove(parent / old)
            else:
                (parent / old).rename(final)
        for temporary in (entry for entry in present if entry.startswith(f".{name}.tmp-")):
            if _is_abandoned(parent / temporary):
                _remove(parent / temporary)


def recover_folder(parent: Path) -> None:
    """Recover every name in `parent` that an interrupted publish left behind."""
    if not parent.is_dir():
        return
    for entry in sorted(parent.iterdir()):
        for mark in (".tmp-", ".old-"):
            if entry.name.startswith(".") and mark in entry.name:
                recover(parent / entry.name[1 : entry.name.rindex(mark)])


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where the file system knows how."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(final: Path, *, folder: bool) -> tuple[Path, int]:
    while True:
        temporary = final.parent / f".{final.name}.tmp-{secrets.token_hex(4)}"
        with _explained(final):
            if folder:
                temporary.mkdir()
                descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
            else:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if _hold(descriptor) and temporary.exists():
            return temporary, descriptor
        os.close(descriptor)  # a concurrent recover() took the name in the moment before the lock


def _hold(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # no locks on this file system; age decides instead
    return True


def _is_abandoned(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - path.stat().st_mtime > _UNLOCKABLE_AGE_S
    finally:
        os.close(descriptor)
    return True


def _swap_in(temporary: Path, final: Path) -> None:
    old = final.parent / f".{final.name}.old-{secrets.token_hex(4)}"
    replaces = final.exists()
    if replaces:
        final.rename(old)
    try:
        temporary.rename(final)
    except BaseException:
        if replaces:
            old.rename(final)
        raise
    sync_folder(final.parent)
    if replaces:
        _remove(old)


def _sync_tree(root: Path) -> None:
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            with (Path(folder) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(folder))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path, *, only_full: bool = False) -> Iterator[None]:
    """Turn an OSError about `path` into one of ours; `only_full` lets other causes pass."""
    try:
        yield
    except OSError as error:
        if not only_full or error.errno in _FULL or error.errno == errno.EROFS:
            raise explain(error, path) from error
        raise


def explain(error: OSError, path: Path) -> HyperDexError:
    """Return the error a user understands for a failed write to `path`."""
    if error.errno in _FULL:
        free = free_bytes(path)
        return CapacityError(
            f"{path} could not be written: {error.strerror}, {_gigabytes(free)} are free",
            "free some space or choose another --prefix",
        )
    if error.errno in _READ_ONLY:
        return UsageError(f"{path} cannot be written: {error.strerror}", "choose a --prefix you may write to")
    return UsageError(f"{path} cannot be written: {error.strerror or error}")


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3f} GB"
