"""actfn_{N}fpga.bin: the activation tables of a program, as int32 words behind the header.

Words: the number of tables, then per table begin, end, segments, left slope,
left intercept, right slope, right intercept and four coefficients per
segment. All but the two counts are float32 bits. Table ids count from 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.errors import ArtifactError
from compiler.header import HEADER_BYTES, Payload, check_header, write_header
from compiler.isa.tables import MAX_SEGMENTS, MAX_TABLES, ActivationTable
from compiler.strict_json import RECOMPILE

_HEAD_WORDS = 7


def encode_tables(tables: Sequence[ActivationTable]) -> bytes:
    """The content of the file; tables must be legal, see `ActivationTable.problem`."""
    words = [np.array([len(tables)], dtype=np.int32), *(table.words() for table in tables)]
    return write_header(Payload.ACTIVATION) + np.concatenate(words).astype("<i4").tobytes()


def decode_tables(content: bytes, where: str) -> tuple[ActivationTable, ...]:
    """Read what `encode_tables` wrote.

    Raises:
        ArtifactError: a bad header, a size that does not match, or an illegal table.
    """
    check_header(content, Payload.ACTIVATION, where)
    body = content[HEADER_BYTES:]
    if len(body) % 4 or not body:
        raise ArtifactError(f"{where} has {len(body)} bytes of words, not a positive multiple of 4", RECOMPILE)
    words = np.frombuffer(body, dtype="<i4").astype(np.int32)
    count = int(words[0])
    if not 0 <= count <= MAX_TABLES:
        raise ArtifactError(f"{where} says it holds {count} tables, allowed are 0..{MAX_TABLES}", RECOMPILE)
    tables = []
    at = 1
    for index in range(1, count + 1):
        segments = int(words[at + 2]) if at + _HEAD_WORDS <= words.size else 0
        end = at + _HEAD_WORDS + 4 * segments
        if not 1 <= segments <= MAX_SEGMENTS or end > words.size:
            raise ArtifactError(f"{where}: table {index} is cut short or has {segments} segments", RECOMPILE)
        numbers = words[at:end].view(np.float32)
        begin, upper, left_slope, left, right_slope, right = (float(numbers[place]) for place in (0, 1, 3, 4, 5, 6))
        cubics = numbers[_HEAD_WORDS:].reshape(segments, 4).copy()
        table = ActivationTable(begin, upper, left_slope, left, right_slope, right, cubics)
        problem = table.problem()
        if problem:
            raise ArtifactError(f"{where}: table {index}: {problem}", RECOMPILE)
        tables.append(table)
        at = end
    if at != words.size:
        raise ArtifactError(f"{where} has {words.size - at} words behind its last table", RECOMPILE)
    return tuple(tables)
