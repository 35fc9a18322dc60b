"""Publishing: whole or not at all, whatever happens in between."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest

from compiler.errors import CapacityError, UsageError
from compiler.publish import (
    ensure_free_space,
    ensure_writable,
    explain,
    free_bytes,
    publish_file,
    publish_folder,
    recover,
    recover_folder,
    sha256_file,
)


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def crash_while_publishing(final: Path, step: str) -> None:
    """Kill a process with SIGKILL inside `publish_folder(final)`, at `step`."""
    code = (
        "import os, signal, sys; from pathlib import Path; import compiler.publish as publish\n"
        "die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"step, final = {step!r}, Path({str(final)!r})\n"
        "if step == 'swap':\n"
        "    rename = Path.rename\n"
        "    Path.rename = lambda self, to: die() if '.tmp-' in self.name else rename(self, to)\n"
        "if step == 'cleanup': publish._remove = die\n"
        "with publish.publish_folder(final) as folder:\n"
        "    (folder / 'new').write_text('new')\n"
        "    if step == 'write': die()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_published_file_holds_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.bin"
    for content in (b"first", b"second"):
        source = BytesIO(content)
        publish_file(path, partial(shutil.copyfileobj, source))
        assert path.read_bytes() == content
    assert names(path.parent) == ["a.bin"]


def test_published_modes_follow_the_umask(tmp_path: Path, umask: int) -> None:
    publish_file(tmp_path / "file", lambda file: None)
    with publish_folder(tmp_path / "folder") as folder:
        (folder / "inner").write_text("x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~umask
    assert (tmp_path / "folder/inner").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_file(path, fail)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_published_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    final = tmp_path / "build"
    for name in ("one", "two"):
        with publish_folder(final) as folder:
            (folder / name).write_text(name)
            (folder / "sub").mkdir()
            (folder / "sub" / name).write_text(name)
    assert names(final) == ["sub", "two"]
    assert names(tmp_path) == ["build"]


def test_a_reader_keeps_the_folder_it_opened(tmp_path: Path) -> None:
    final = tmp_path / "build"
    with publish_folder(final) as folder:
        (folder / "a").write_text("old")
    with (final / "a").open() as reader:
        with publish_folder(final) as folder:
            (folder / "a").write_text("new")
        assert reader.read() == "old"


def test_a_failed_block_leaves_the_old_folder(tmp_path: Path) -> None:
    final = tmp_path / "build"
    with publish_folder(final) as folder:
        (folder / "old").write_text("")
    with pytest.raises(ZeroDivisionError), publish_folder(final) as folder:
        (folder / "new").write_text("")
        raise ZeroDivisionError
    assert names(final) == ["old"]
    assert names(tmp_path) == ["build"]


@pytest.mark.parametrize(("step", "survivor"), [("write", "old"), ("swap", "old"), ("cleanup", "new")])
def test_a_crash_at_any_step_keeps_one_whole_folder(tmp_path: Path, step: str, survivor: str) -> None:
    final = tmp_path / "build"
    final.mkdir()
    (final / "old").write_text("old")
    crash_while_publishing(final, step)
    assert names(tmp_path) != ["build"]
    recover_folder(tmp_path)
    assert names(tmp_path) == ["build"]
    assert names(final) == [survivor]


def test_the_next_publish_clears_what_a_crash_left(tmp_path: Path) -> None:
    final = tmp_path / "build"
    crash_while_publishing(final, "write")
    with publish_folder(final) as folder:
        (folder / "a").write_text("")
    assert names(tmp_path) == ["build"]


def test_recovery_leaves_work_in_progress_alone(tmp_path: Path) -> None:
    with publish_folder(tmp_path / "build") as folder:
        recover(tmp_path / "build")
        assert folder.is_dir()
        publish_file(tmp_path / "file", lambda file: recover(tmp_path / "file"))
    assert names(tmp_path) == ["build", "file"]


def test_many_may_publish_the_same_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def publish(number: int) -> None:
        publish_file(path, lambda file: file.write(b"%03d" % number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, range(400)))
    assert names(tmp_path) == ["file"]
    assert len(path.read_bytes()) == 3


def test_recovery_leaves_other_names_alone(tmp_path: Path) -> None:
    (tmp_path / ".other.tmp-1").write_text("")
    (tmp_path / ".lock").write_text("")
    recover(tmp_path / "build")
    assert names(tmp_path) == [".lock", ".other.tmp-1"]


def test_a_full_disk_is_a_capacity_error(tmp_path: Path) -> None:
    def fill(file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(CapacityError, match=r"No space left.* [GT]B are free; free some space or choose another place"):
        publish_file(tmp_path / "a", fill)
    with pytest.raises(CapacityError, match="choose another --prefix"):
        publish_file(tmp_path / "a", fill, in_prefix=True)
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_at_flush_is_a_capacity_error(tmp_path: Path) -> None:
    def fill(file: BinaryIO) -> None:
        with Path("/dev/full").open("wb") as full:
            full.write(b"x")

    with pytest.raises(CapacityError):
        publish_file(tmp_path / "a", fill)


def test_a_read_only_place_is_one_usage_error(tmp_path: Path) -> None:
    for code in (errno.EROFS, errno.EACCES, errno.EPERM):
        error = explain(OSError(code, os.strerror(code)), tmp_path)
        assert isinstance(error, UsageError)
        assert "choose a --prefix you may write to" in str(error)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_publishing_into_a_read_only_folder_is_a_usage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="choose a place you may write to"):
        publish_file(tmp_path / "a", lambda file: None)
    tmp_path.chmod(0o700)


def test_a_file_in_the_way_of_a_folder_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "org").write_text("")
    for place in (tmp_path / "org" / "build", tmp_path / "org" / "deep" / "build"):
        with pytest.raises(UsageError, match=r"cannot be written: .*/org is not a folder; move"), publish_folder(place):
            pass
        with pytest.raises(UsageError, match=r"/org is not a folder"):
            ensure_writable(place)


def test_a_place_that_can_be_written_is_checked_without_creating_it(tmp_path: Path) -> None:
    ensure_writable(tmp_path / "not" / "yet")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="dangling is not a folder"):
        ensure_writable(tmp_path / "dangling" / "below")
    assert names(tmp_path) == ["dangling"]


def test_the_callers_own_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), publish_folder(tmp_path / "build"):
        (tmp_path / "missing").read_bytes()


def test_what_an_open_file_answers_is_explained(tmp_path: Path) -> None:
    def fail(_: BinaryIO) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(UsageError, match="artifact cannot be written: Input/output error"):
        publish_file(tmp_path / "artifact", fail)
    assert names(tmp_path) == []


def test_free_space_names_needed_and_free(tmp_path: Path) -> None:
    ensure_free_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(CapacityError, match=r"needs 1000\.0 PB, [0-9.]+ [GT]B are free"):
        ensure_free_space(tmp_path / "not" / "yet", 10**18)
    assert free_bytes(tmp_path) > 0


def test_sha256_matches_hashlib_and_counts_every_byte(tmp_path: Path) -> None:
    content = os.urandom((1 << 20) + 17)
    (tmp_path / "a").write_bytes(content)
    seen: list[int] = []
    assert sha256_file(tmp_path / "a", seen.append) == hashlib.sha256(content).hexdigest()
    assert sum(seen) == len(content)
