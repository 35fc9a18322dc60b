"""Parameter files written from threads: what is refused at once, and failures that come late."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from compiler.artifacts.writer import ParamWriter


def content(elements: int) -> np.ndarray:
    """A block for all 32 channels, each with its own number."""
    return np.repeat(np.arange(32, dtype=np.float16)[:, None], elements, axis=1)


def test_pieces_of_any_size_follow_each_other_in_every_channel(tmp_path, memory_map):
    rng = np.random.default_rng(0)
    whole = rng.standard_normal((32, 120)).astype(np.float16)
    with ParamWriter(tmp_path, memory_map, 0) as writer:
        for begin, end in [(0, 1), (1, 2), (2, 50), (50, 51), (51, 120)]:
            writer.write(2 * begin, whole[:, begin:end])
    for channel, entry in enumerate(writer.entries):
        found = (tmp_path / entry.name).read_bytes()
        assert found[16:] == whole[channel].tobytes() + bytes(memory_map.file_bytes - 240)


@pytest.mark.parametrize(
    ("address", "block", "message"),
    [(0, content(4), "already written"), (250, content(4), "behind the end"), (8, content(4)[:31], "31 arrays")],
)
def test_a_piece_out_of_place_is_refused_at_once(tmp_path, memory_map, address, block, message):
    with pytest.raises(ValueError, match=message), ParamWriter(tmp_path, memory_map, 0) as writer:
        writer.write(0, content(4))
        writer.write(address, block)


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_a_write_that_fails_in_a_thread_fails_the_build(tmp_path, memory_map, pieces):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(OSError, match="File too large"), ParamWriter(tmp_path, memory_map, 0) as writer:
            for piece in range(pieces):
                writer.write(40 * piece, content(20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
