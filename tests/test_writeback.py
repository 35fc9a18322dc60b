"""Files written from threads: every byte at its place, no failure lost."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from compiler.writeback import BackgroundWriter, EarlyWriteback


def test_pieces_land_where_they_belong_in_any_order(tmp_path: Path) -> None:
    pieces = {begin: bytes([begin % 251]) * 1000 for begin in range(0, 50_000, 1000)}
    order = random.Random(0).sample(sorted(pieces), len(pieces))
    with (tmp_path / "file").open("wb") as file, BackgroundWriter(file.fileno()) as writer:
        for begin in order:
            writer.write(begin, memoryview(pieces[begin]))
    assert (tmp_path / "file").read_bytes() == b"".join(pieces[begin] for begin in sorted(pieces))


def test_advice_changes_no_byte(tmp_path: Path) -> None:
    content = os.urandom(9 << 20)
    with (tmp_path / "file").open("wb", buffering=0) as file:
        writeback = EarlyWriteback(file.fileno())
        for begin in range(0, len(content), 1 << 20):
            file.write(content[begin : begin + (1 << 20)])
            writeback.wrote(begin, begin + (1 << 20))
        writeback.start()
    assert (tmp_path / "file").read_bytes() == content


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("more", [0, 3])
def test_a_full_disk_is_told_at_the_end_at_the_latest(more: int) -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space left"), BackgroundWriter(file.fileno()) as writer:
            for begin in range(1 + more):
                writer.write(begin, memoryview(b"x"))
        assert not file.closed


def test_an_error_of_the_block_is_not_replaced(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, pytest.raises(KeyError), BackgroundWriter(file.fileno()) as writer:
        writer.write(0, memoryview(b"x"))
        raise KeyError
