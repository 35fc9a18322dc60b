"""Files that the user names for a result (`--logits`, `--trace`, `asm -o`, `compile --job`), and warnings.

A regular file appears whole or not at all, also behind a symbolic link; a
device or a pipe is written to and stays what it is. Folders are never made:
a missing one is a typing error more often than a wish.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click

from compiler.errors import UsageError
from compiler.sanitize import one_line


def warn(text: str) -> None:
    """Tell something on stderr, in one line, that does not stop the command."""
    click.echo(f"hyperdex: warning: {one_line(text)}", err=True)


class OutputFile(click.Path):
    """Type of an option that names a file to write; its folder must be there."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path as given.

        Raises:
            UsageError: it is empty, its folder is missing, or it cannot be written.
        """
        option = param.opts[-1] if param is not None else "file"
        if not str(value):
            raise UsageError(f"{option} is empty", "name a file")
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.parent.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {path.parent}", "make it first")
        _check_writable(option, path)
        return path


def _check_writable(option: str, path: Path) -> None:
    """Refuse a file that could not be written before the work is done rather than after; nothing is left behind.

    Raises:
        UsageError: naming the file and the reason.
    """
    try:
        target = _behind_links(path)
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not target.exists() or target.is_file():
            TemporaryFile(dir=target.parent).close()  # as it will be written: beside it, then renamed
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror}", "name another file") from None


def write_output(path: Path, content: bytes) -> None:
    """Write `content` to a file the user named, through a symbolic link if it is one.

    Raises:
        UsageError: it cannot be written.
        CapacityError: the disk is full.
    """
    from compiler.publish import explain, publish_file

    try:
        target = _behind_links(path)
        if target.exists() and not target.is_file():
            with target.open("wb", buffering=0) as stream:
                rest = memoryview(content)
                while rest:
                    rest = rest[stream.write(rest) :]
            return
        publish_file(target, lambda stream: stream.write(content))
    except BrokenPipeError:
        raise UsageError(f"{path} could not be written: its reader went away") from None
    except OSError as error:
        raise explain(error, path, in_prefix=False) from None


def _behind_links(path: Path) -> Path:
    """The file that a path leads to, which need not exist.

    Raises:
        UsageError: its links lead in a circle.
    """
    with suppress(RuntimeError):  # before Python 3.13
        target = path.resolve()
        if not target.is_symlink():
            return target
    raise UsageError(f"{path} cannot be written: its symbolic links lead in a circle", "name another file")
