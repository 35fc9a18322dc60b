"""The 16 bytes every binary file of ours begins with. Standard library only.

Little endian: magic `HDEX`, format version (u16), payload kind (u16), flags
(u32), CRC-32 of the twelve bytes before it (u32). What the flags mean is up to
the payload kind.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum

from compiler.errors import ArtifactError

MAGIC = b"HDEX"
FORMAT_VERSION = 1
HEADER_BYTES = 16

_BODY = struct.Struct("<4sHHI")
_CRC = struct.Struct("<I")


class Payload(IntEnum):
    """What follows the header; the value is the one in the file."""

    MODEL = 1
    PARAM = 2
    PROGRAM = 3
    ACTIVATION = 4
    DEBUG = 5


def write_header(kind: Payload, flags: int = 0) -> bytes:
    """Return the header of a `kind` file; `flags` is an unsigned 32-bit number."""
    body = _BODY.pack(MAGIC, FORMAT_VERSION, kind, flags)
    return body + _CRC.pack(zlib.crc32(body))


def check_header(header: bytes, kind: Payload, where: str) -> int:
    """Return the flags of a `kind` file that begins with `header`.

    Args:
        header: the first bytes of the file, at least HEADER_BYTES of them.
        kind: what the caller expects to follow.
        where: file name for the message.

    Raises:
        ArtifactError: too short, damaged, not ours, of another version or kind.
    """
    if len(header) < HEADER_BYTES:
        raise ArtifactError(f"{where} has {len(header)} bytes of the {HEADER_BYTES}-byte header", "compile again")
    magic, version, found, flags = _BODY.unpack_from(header)
    if magic != MAGIC:
        raise ArtifactError(f"{where} begins with {magic!r}, not {MAGIC!r}: not a HyperDex file")
    (crc,) = _CRC.unpack_from(header, _BODY.size)
    if crc != zlib.crc32(header[: _BODY.size]):
        raise ArtifactError(f"{where} has a damaged header (its checksum does not match)", "compile again")
    if version != FORMAT_VERSION:
        raise ArtifactError(f"{where} has format version {version}, this tool reads {FORMAT_VERSION}", "compile again")
    if found != kind:
        raise ArtifactError(f"{where} holds payload {_kind_name(found)}, expected {kind.name}")
    return int(flags)


def _kind_name(value: int) -> str:
    return Payload(value).name if value in {kind.value for kind in Payload} else str(value)
