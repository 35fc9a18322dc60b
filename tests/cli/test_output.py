"""Laws of files that the user names for a result."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from compiler.cli.main import main
from compiler.cli.output import write_output
from compiler.errors import CapacityError, UsageError


def test_a_device_is_written_to_and_stays_a_device(tmp_path: Path) -> None:
    null = Path(os.devnull)
    write_output(null, b"x")
    link = tmp_path / "link"
    link.symlink_to(null)
    write_output(link, b"x")
    assert null.is_char_device() and link.is_symlink()


def test_a_pipe_gets_everything(tmp_path: Path) -> None:
    pipe, content = tmp_path / "pipe", bytes(range(256)) * 1000
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_output(pipe, content)
    reader.join()
    assert read == [content] and pipe.is_fifo()


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    if exists:
        target.write_bytes(b"old")
    link.symlink_to(target)
    write_output(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["file"]


def test_a_full_disk_is_one_line_without_a_prefix() -> None:
    with pytest.raises(CapacityError, match=r"^/dev/full could not be written: No space") as caught:
        write_output(Path("/dev/full"), b"x" * 100_000)
    assert "--prefix" not in str(caught.value)
    assert "are free" not in str(caught.value)


def test_a_link_in_a_circle_is_one_line(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(link)
    with pytest.raises(UsageError):
        write_output(link, b"x")


@pytest.mark.parametrize(
    "arguments",
    [
        ["asm", "-", "-o"],
        ["compile", "a/b", "--offline", "--job"],
        ["generate", "a/b", "x", "--logits"],
        ["generate", "a/b", "x", "--trace"],
    ],
    ids=lambda arguments: arguments[-1],
)
def test_a_missing_folder_is_an_error_and_is_not_made(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "absent" / "file"
    assert main([*arguments, str(file)]) == 2
    option = {"-o": "--output"}.get(arguments[-1], arguments[-1])
    expected = f"hyperdex: error: {option} {file}: there is no folder {file.parent}; make it first\n"
    assert capsys.readouterr().err == expected
    assert main([*arguments, ""]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--logits", "--trace"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    option: str, prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "tiny/absent", "x", "--prefix", str(prefix), option, "/proc/absent.npy"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"hyperdex: error: {option} /proc/absent.npy cannot be written: ")


def test_asking_whether_a_file_can_be_written_leaves_no_trace(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"kept")
    assert main(["asm", str(tmp_path / "absent.s"), "-o", str(file)]) == 2
    assert main(["asm", str(tmp_path / "absent.s"), "-o", str(tmp_path / "new")]) == 2
    assert file.read_bytes() == b"kept" and list(tmp_path.iterdir()) == [file]
