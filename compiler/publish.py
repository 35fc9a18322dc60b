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
from compiler.quantity import bytes_text

_CHUNK_BYTES = 1 << 20
_UNLOCKABLE_AGE_S = 86400.0
"""Where the file system has no locks, leftovers are removed when older than this."""

_LEVELS = 3
"""ORG, NAME and the folder of the builds: their names are made durable although an earlier run, which may have been
killed, has made them."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_UNSYNCABLE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EROFS})
"""What a folder answers that cannot be synced, or need not be: it is not ours to write."""


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
            f"{path} needs {bytes_text(needed_bytes)}, {bytes_text(free)} are free",
            "free some space or choose another --prefix",
        )


def make_folder(path: Path, *, in_prefix: bool = True) -> None:
    """Create a folder and its parents where they do not exist, durably.

    Args:
        path: the folder.
        in_prefix: whether it belongs to a model, so that another --prefix would help.

    Raises:
        UsageError: the place is read-only or taken by a file.
        CapacityError: the disk is full.
    """
    place = _refuse_blocked(path)
    with _explained(path, in_prefix=in_prefix):
        path.mkdir(parents=True, exist_ok=True)
        for level, parent in enumerate(path.absolute().parents):
            if level >= _LEVELS and place.is_relative_to(parent) and place != parent:
                break
            sync_folder(parent)


def ensure_writable(folder: Path) -> None:
    """Check, without creating anything, that a folder of the prefix can be made and written to.

    Raises:
        UsageError: it is or lies below something that is no folder, or is read-only.
    """
    place = _refuse_blocked(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        raise explain(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), place)


def publish_file(path: Path, write: Callable[[BinaryIO], object], *, in_prefix: bool = False) -> None:
    """Create or replace `path` with what `write` puts into the open file.

    Args:
        path: the file.
        write: gets the open file; its result does not matter.
        in_prefix: whether it belongs to a model, so that another --prefix would help.

    Raises:
        UsageError: the folder is read-only.
        CapacityError: the disk is full.
    """
    make_folder(path.parent, in_prefix=in_prefix)
    recover(path, in_prefix=in_prefix)
    temporary, descriptor = _create(path, folder=False, in_prefix=in_prefix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with _explained(path, only_ours=True, in_prefix=in_prefix):
                write(file)
            with _explained(path, in_prefix=in_prefix):
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
                sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


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
        with _explained(final, only_ours=True):
            yield temporary
        with _explained(final):
            _sync_tree(temporary)
            _swap_in(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(HyperDexError, OSError):
            recover(final)  # a signal may come between the steps of the exchange
        raise
    finally:
        os.close(descriptor)


def recover(final: Path, *, in_prefix: bool = True) -> None:
    """Restore or remove what an interrupted publish of `final` left behind."""
    parent, name = final.parent, final.name
    with _explained(final, in_prefix=in_prefix):
        present = sorted(entry.name for entry in os.scandir(parent)) if parent.is_dir() else []
        for old in (entry for entry in present if entry.startswith(f".{name}.old-")):
            if final.exists():
                _remove(parent / old)
            else:
                (parent / old).rename(final)
        for temporary in (entry for entry in present if entry.startswith(f".{name}.tmp-")):
            _remove_abandoned(parent / temporary)


def recover_folder(parent: Path) -> None:
    """Recover every name in `parent` that an interrupted publish left behind."""
    if not parent.is_dir():
        return
    for entry in sorted(parent.iterdir()):
        for mark in (".tmp-", ".old-"):
            if entry.name.startswith(".") and mark in entry.name:
                recover(parent / entry.name[1 : entry.name.rindex(mark)])


def discard_folder(final: Path) -> None:
    """Make a folder vanish at once, then free its space; a crash in between leaves what the next `recover` removes.

    Raises:
        UsageError: it cannot be removed.
    """
    with _explained(final):
        aside = final.parent / f".{final.name}.tmp-{secrets.token_hex(4)}"
        final.rename(aside)
        sync_folder(final.parent)
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        else:
            aside.unlink()


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where the file system knows how.

    Raises:
        OSError: the disk is full or broken.
    """
    descriptor = -1
    try:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSYNCABLE:
            raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _create(final: Path, *, folder: bool, in_prefix: bool = True) -> tuple[Path, int]:
    while True:
        temporary = final.parent / f".{final.name}.tmp-{secrets.token_hex(4)}"
        with _explained(final, in_prefix=in_prefix):
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


def _remove_abandoned(path: Path) -> None:
    """Remove new content that nobody is writing. Locked until it is gone: its name may have been made this moment."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        if _is_free(descriptor):
            _remove(path)
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    """Take the lock of what may be work in progress; where there are no locks, its age decides."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(descriptor).st_mtime > _UNLOCKABLE_AGE_S
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


def _refuse_blocked(folder: Path) -> Path:
    """The nearest existing place at or above `folder`, which must be a folder."""
    place = folder.absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    with _explained(place):
        if not place.is_dir():
            raise UsageError(f"{folder} cannot be written: {place} is not a folder", "move it away")
    return place


@contextmanager
def _explained(path: Path, *, only_ours: bool = False, in_prefix: bool = True) -> Iterator[None]:
    """Turn an OSError about `path` into one of ours.

    With `only_ours`, what names a file passes, unless the disk is full: it is about something else. What a
    write to an open file answers names none.
    """
    try:
        yield
    except OSError as error:
        if not only_ours or error.filename is None or error.errno in _FULL or error.errno == errno.EROFS:
            raise explain(error, path, in_prefix=in_prefix) from error
        raise


def explain(error: OSError, path: Path, *, in_prefix: bool = True) -> HyperDexError:
    """Return the error a user understands for a failed write to `path`."""
    where = "--prefix" if in_prefix else "place"
    if error.errno in _FULL:
        free = "" if _is_special(path) else f", {bytes_text(free_bytes(path))} are free"
        return CapacityError(
            f"{path} could not be written: {error.strerror}{free}",
            f"free some space or choose another {where}",
        )
    if error.errno in _READ_ONLY:
        return UsageError(f"{path} cannot be written: {error.strerror}", f"choose a {where} you may write to")
    return UsageError(f"{path} cannot be written: {error.strerror or error}")


def _is_special(path: Path) -> bool:
    """Whether a path leads to a device or a pipe, which says nothing about the space of a disk."""
    return path.exists() and not path.is_file() and not path.is_dir()
