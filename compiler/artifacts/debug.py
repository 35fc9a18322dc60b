"""debug_Nfpga.bin: debug information in tables that a reader maps and looks into, whatever the program's length.

`DebugInfo` <-> bytes, and `DebugTables`: single records out of a mapped file. The
layout is in docs/debug.md. Opening checks header, directory and size; a record is
checked when it is read, all of them by `debug_from_bytes`. Standard library only.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import lt
from typing import Protocol

from compiler.debug_info import DebugInfo, LayerBegin, LiveRange, Node, PassReport, layer_begins
from compiler.errors import ArtifactError
from compiler.header import HEADER_BYTES, Payload, check_header, write_header
from compiler.source import SourceRef
from compiler.strict_json import RECOMPILE

FORMAT_VERSION = 1
_DIRECTORY = struct.Struct("<8IQ")
_CRC = struct.Struct("<I")
_TABLES_BEGIN = 64
_TEXT_LIMIT = 4096
_CELL_BYTES = 4

_WIDTHS = {
    "instruction_nodes": 1,
    "instruction_regions": 1,
    "nodes": 5,
    "regions": 1,
    "layers": 2,
    "labels": 2,
    "values": 5,
    "passes": 3,
    "strings": 1,
}
"""Tables in file order and the 32-bit cells of one record."""

_SIGNED = {"instruction_nodes", "instruction_regions", "nodes", "layers"}


@dataclass(frozen=True, slots=True)
class Table:
    """Where the records of a table lie: `count` of `width` 32-bit cells from byte `offset`."""

    offset: int
    count: int
    width: int
    is_signed: bool

    @property
    def end(self) -> int:
        """First byte behind it."""
        return self.offset + self.count * self.width * _CELL_BYTES


class _Strings:
    """Distinct texts, numbered in the order in which they first appear."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


def debug_to_bytes(debug: DebugInfo) -> bytes:
    """The content of the file; equal values give equal bytes."""
    strings = _Strings()
    regions = _Strings()
    of_instruction = [regions(name) if name else -1 for name in debug.regions]
    nodes = [
        (*map(strings, (each.name, each.op, each.source.module, each.source.tensor)), each.source.layer)
        for each in debug.nodes
    ]
    region_names = [(strings(name),) for name in regions.numbers]
    labels = [(strings(name), pc) for name, pc in debug.labels.items()]
    values = [(strings(v.name), v.begin, v.end, v.first_pc, v.last_pc) for v in debug.values]
    passes = [(strings(report.name), report.before, report.after) for report in debug.passes]
    texts = [text.encode("utf-8") for text in strings.numbers]
    cells: dict[str, array[int]] = {
        "instruction_nodes": array("i", debug.instruction_nodes),
        "instruction_regions": array("i", of_instruction),
        "nodes": array("i", _flat(nodes)),
        "regions": array("i", _flat(region_names)),
        "layers": array("i", _flat((each.begin, each.layer) for each in layer_begins(debug))),
        "labels": array("I", _flat(labels)),
        "values": array("I", _flat(values)),
        "passes": array("I", _flat(passes)),
    }
    return pack_tables({name: _little_endian(column) for name, column in cells.items()}, texts)


def pack_tables(tables: Mapping[str, bytes], texts: Sequence[bytes]) -> bytes:
    """The content of the file from its tables as they lie in it, all but the strings, and the texts."""
    ends = _little_endian(array("I", accumulate(map(len, texts))))
    whole = {**tables, "strings": ends}
    counts = [len(whole[name]) // (_CELL_BYTES * width) for name, width in _WIDTHS.items()]
    head = write_header(Payload.DEBUG, FORMAT_VERSION) + _DIRECTORY.pack(*counts[1:], sum(map(len, texts)))
    head = (head + _CRC.pack(zlib.crc32(head))).ljust(_TABLES_BEGIN, b"\0")
    return b"".join((head, *(whole[name] for name in _WIDTHS), *texts))


def _flat(records: Iterable[tuple[int, ...]]) -> Iterator[int]:
    return (cell for record in records for cell in record)


def _little_endian(cells: array[int]) -> bytes:
    if sys.byteorder == "big":
        cells.byteswap()
    return cells.tobytes()


class Content(Protocol):
    """A file as bytes: in memory, mapped, or read piece by piece."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class DebugTables:
    """Debug information in a file, read one record at a time.

    Every getter raises ArtifactError where the record it reads is damaged, and
    IndexError where there is no such record.

    Args:
        content: the whole file.
        instruction_count: instructions of the program it belongs to.
        where: name of the file for error messages.

    Raises:
        ArtifactError: damaged, of another version, or of another program.
    """

    def __init__(self, content: Content, instruction_count: int, where: str) -> None:
        self.content = content
        self.where = where
        version = check_header(content[:HEADER_BYTES], Payload.DEBUG, where)
        if version != FORMAT_VERSION:
            raise ArtifactError(f"{where} has debug format {version}, this program reads {FORMAT_VERSION}", RECOMPILE)
        if len(content) < _TABLES_BEGIN:
            raise self._wrong(f"has {len(content)} bytes, less than its directory")
        head = content[:_TABLES_BEGIN]
        counts = _DIRECTORY.unpack_from(head, HEADER_BYTES)
        directory_end = HEADER_BYTES + _DIRECTORY.size
        (crc,) = _CRC.unpack_from(head, directory_end)
        if crc != zlib.crc32(head[:directory_end]):
            raise self._wrong("has a damaged directory (its checksum does not match)")
        *records, self._text_bytes = counts
        if records[0] != instruction_count:
            raise self._wrong(f"describes {records[0]} instructions, the program has {instruction_count}")
        offset = _TABLES_BEGIN
        self.tables: dict[str, Table] = {}
        for (name, width), count in zip(_WIDTHS.items(), (records[0], *records), strict=True):
            self.tables[name] = Table(offset, count, width, name in _SIGNED)
            offset = self.tables[name].end
        self._text_begin = offset
        if len(content) != offset + self._text_bytes:
            raise self._wrong(f"has {len(content)} bytes, its directory says {offset + self._text_bytes}")

    def _wrong(self, what: str) -> ArtifactError:
        return ArtifactError(f"{self.where} {what}", RECOMPILE)

    def _record(self, name: str, index: int) -> tuple[int, ...]:
        table = self.tables[name]
        if not 0 <= index < table.count:
            raise IndexError(f"{self.where} has {table.count} {name}, none is {index}")
        code = f"<{table.width}{'i' if table.is_signed else 'I'}"
        size = table.width * _CELL_BYTES
        begin = table.offset + index * size
        return struct.unpack(code, self.content[begin : begin + size])

    def count(self, name: str) -> int:
        """Records of a table."""
        return self.tables[name].count

    def text(self, index: int) -> str:
        """Text `index` of the string table."""
        if not 0 <= index < self.count("strings"):
            raise self._wrong(f"names text {index} of {self.count('strings')}")
        begin = self._record("strings", index - 1)[0] if index else 0
        (end,) = self._record("strings", index)
        if not begin <= end <= min(begin + _TEXT_LIMIT, self._text_bytes):
            raise self._wrong(f"text {index} is [{begin}, {end}), longer than {_TEXT_LIMIT} or behind the end")
        try:
            return self.content[self._text_begin + begin : self._text_begin + end].decode("utf-8")
        except UnicodeDecodeError:
            raise self._wrong(f"text {index} is not UTF-8") from None

    def node_index(self, pc: int) -> int:
        """Index of the node behind an instruction, -1 for none."""
        return self._reference("instruction_nodes", pc, "nodes")

    def region_index(self, pc: int) -> int:
        """Index of the region an instruction reads or writes, -1 for none."""
        return self._reference("instruction_regions", pc, "regions")

    def _reference(self, name: str, pc: int, to: str) -> int:
        (found,) = self._record(name, pc)
        if not -1 <= found < self.count(to):
            raise self._wrong(f"{name}[{pc}] is {found}, there are {self.count(to)} {to}")
        return found

    def node(self, index: int) -> Node:
        """Node `index`."""
        name, op, module, tensor, layer = self._record("nodes", index)
        if not -1 <= layer <= 1 << 20:
            raise self._wrong(f"node {index} has layer {layer}")
        return Node(self.text(name), self.text(op), SourceRef(self.text(module), self.text(tensor), layer))

    def region(self, index: int) -> str:
        """Name of region `index`."""
        return self.text(self._record("regions", index)[0])

    def layer_columns(self) -> tuple[array[int], array[int]]:
        """First instruction and decoder layer (-1: none) of every section, checked."""
        table = self.tables["layers"]
        cells = array("i", self.content[table.offset : table.end])
        if sys.byteorder == "big":
            cells.byteswap()
        begins, layers = cells[::2], cells[1::2]
        count = self.count("instruction_nodes")
        if begins and (begins[0] != 0 or begins[-1] >= count or not all(map(lt, begins, begins[1:]))):
            raise self._wrong(f"has layers that do not ascend from 0 to below {count}")
        if bool(begins) != bool(count) or (layers and min(layers) < -1):
            raise self._wrong("has instructions of no layer")
        return begins, layers

    def label(self, index: int) -> tuple[str, int]:
        """Name and instruction of label `index`."""
        name, pc = self._record("labels", index)
        return self.text(name), pc

    def live_range(self, index: int) -> LiveRange:
        """Live range `index`."""
        name, begin, end, first_pc, last_pc = self._record("values", index)
        return LiveRange(self.text(name), begin, end, first_pc, last_pc)

    def pass_report(self, index: int) -> PassReport:
        """What pass `index` did."""
        name, before, after = self._record("passes", index)
        return PassReport(self.text(name), before, after)


def debug_from_bytes(content: bytes, instruction_count: int, where: str) -> DebugInfo:
    """Read the whole of what `debug_to_bytes` wrote.

    Raises:
        ArtifactError: damaged, of another version, or of another program.
    """
    tables = DebugTables(content, instruction_count, where)
    regions = (*(tables.region(index) for index in range(tables.count("regions"))), "")
    debug = DebugInfo(
        nodes=tuple(tables.node(index) for index in range(tables.count("nodes"))),
        instruction_nodes=tuple(tables.node_index(pc) for pc in range(instruction_count)),
        regions=tuple(regions[tables.region_index(pc)] for pc in range(instruction_count)),
        labels=dict(tables.label(index) for index in range(tables.count("labels"))),
        values=tuple(tables.live_range(index) for index in range(tables.count("values"))),
        passes=tuple(tables.pass_report(index) for index in range(tables.count("passes"))),
    )
    if tuple(map(LayerBegin, *tables.layer_columns())) != layer_begins(debug):
        raise ArtifactError(f"{where} has layers that do not begin where its nodes say", RECOMPILE)
    return debug
