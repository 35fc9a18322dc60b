"""The 16-byte header: reading inverts writing, and nothing else is accepted."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.errors import ArtifactError
from compiler.header import FORMAT_VERSION, HEADER_BYTES, Payload, check_header, write_header

KINDS = st.sampled_from(Payload)
FLAGS = st.integers(0, 2**32 - 1)


@given(KINDS, FLAGS)
def test_check_inverts_write(kind: Payload, flags: int) -> None:
    header = write_header(kind, flags)
    assert len(header) == HEADER_BYTES
    assert check_header(header + b"payload", kind, "x.bin") == flags


@given(KINDS, FLAGS, st.integers(0, HEADER_BYTES * 8 - 1))
def test_any_flipped_bit_is_an_artifact_error(kind: Payload, flags: int, bit: int) -> None:
    header = bytearray(write_header(kind, flags))
    header[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ArtifactError, match=r"x\.bin"):
        check_header(bytes(header), kind, "x.bin")


@given(KINDS, st.integers(0, HEADER_BYTES - 1))
def test_a_short_header_is_an_artifact_error(kind: Payload, length: int) -> None:
    with pytest.raises(ArtifactError, match=f"has {length} bytes"):
        check_header(write_header(kind)[:length], kind, "x.bin")


def test_another_kind_is_named() -> None:
    with pytest.raises(ArtifactError, match="holds payload PARAM, expected PROGRAM"):
        check_header(write_header(Payload.PARAM), Payload.PROGRAM, "x.bin")


def test_another_version_is_named() -> None:
    body = struct.pack("<4sHHI", b"HDEX", FORMAT_VERSION + 1, Payload.MODEL, 0)
    header = body + struct.pack("<I", zlib.crc32(body))
    with pytest.raises(ArtifactError, match=f"format version {FORMAT_VERSION + 1}"):
        check_header(header, Payload.MODEL, "x.bin")


def test_the_layout_is_fixed() -> None:
    assert write_header(Payload.PARAM, 2)[:12] == b"HDEX\x01\x00\x02\x00\x02\x00\x00\x00"
