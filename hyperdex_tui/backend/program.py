"""A program on disk, mapped and decoded one instruction at a time.

Opens the instruction folder of a build without numpy: the words stay in the
file, so opening costs the same for ten thousand and ten million instructions
(the debug information apart).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compiler.artifacts.debug import debug_from_json
from compiler.artifacts.manifest import DEBUG, MANIFEST, Manifest, program_file
from compiler.debug_info import DebugInfo, Node
from compiler.errors import ArtifactError, AssemblyError
from compiler.header import HEADER_BYTES, Payload, check_header
from compiler.isa.encode import Instruction, decode
from compiler.isa.spec import INSTRUCTION_BYTES, ISA_VERSION
from compiler.isa.text import format_instruction
from compiler.strict_json import RECOMPILE

_MANIFEST_LIMIT = 16 << 20
_DEBUG_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True)
class Section:
    """A run of instructions: the prologue, one decoder layer, or the part behind the layers."""

    title: str
    begin: int
    end: int


class Program:
    """The instructions of a build with their debug information.

    Attributes:
        manifest: of the instruction folder.
        debug: empty when debug.json is missing or damaged; `note` says so.
        sections: consecutive, covering the whole program.
        note: what is wrong with the build beside the words, "" when nothing is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = Manifest.from_json(_read(folder / MANIFEST, _MANIFEST_LIMIT), "inst", MANIFEST)
        name = program_file(self.manifest.num_devices)
        self._words = _map(folder / name)
        version = check_header(self._words[:HEADER_BYTES], Payload.PROGRAM, name)
        if version != ISA_VERSION:
            raise ArtifactError(f"{name} has instruction set {version}, this program reads {ISA_VERSION}", RECOMPILE)
        size = len(self._words) - HEADER_BYTES
        self.count = size // INSTRUCTION_BYTES
        self.note = f"{name} has {size % INSTRUCTION_BYTES} bytes too many" if size % INSTRUCTION_BYTES else ""
        try:
            self.debug = debug_from_json(_read(folder / DEBUG, _DEBUG_LIMIT), self.count, DEBUG)
        except ArtifactError as error:
            self.debug, self.note = DebugInfo(), str(error)
        self.labels = {pc: label for label, pc in self.debug.labels.items()}
        self.sections = _sections(self.debug, self.count)

    def close(self) -> None:
        """Unmap the words."""
        self._words.close()

    def word(self, pc: int) -> bytes:
        """The 32 bytes of an instruction."""
        at = HEADER_BYTES + pc * INSTRUCTION_BYTES
        return self._words[at : at + INSTRUCTION_BYTES]

    def instruction(self, pc: int) -> Instruction | None:
        """The instruction, None for a word that is none."""
        try:
            return decode(self.word(pc))
        except AssemblyError:
            return None

    def text(self, pc: int) -> str:
        """Assembly text."""
        decoded = self.instruction(pc)
        if decoded is None:
            return f"<not an instruction: {self.word(pc)[:4].hex()}…>"
        return format_instruction(decoded, self.labels)

    def node(self, pc: int) -> Node | None:
        """The graph node behind an instruction."""
        return self.debug.node_of(pc)

    def source(self, pc: int) -> str:
        """Tensor, module or node behind an instruction; "" when there is none."""
        node = self.debug.node_of(pc)
        return str(node) if node is not None else ""

    def short_source(self, pc: int) -> str:
        """As `source`, without the path to the layer, which the section title names."""
        node = self.debug.node_of(pc)
        if node is None:
            return ""
        whole = str(node)
        return whole.partition(f".{node.source.layer}.")[2] or whole

    def region(self, pc: int) -> str:
        """Name of the memory region an instruction reads or writes, or ""."""
        return self.debug.regions[pc] if pc < len(self.debug.regions) else ""

    def section_at(self, pc: int) -> int:
        """Index of the section of an instruction."""
        low, high = 0, len(self.sections) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.sections[middle].begin <= pc else (low, middle - 1)
        return low

    def searchable(self, pc: int) -> str:
        """What a search looks at: index, unit, text, source and region of an instruction."""
        decoded = self.instruction(pc)
        unit = decoded.spec.unit.value if decoded is not None else "?"
        return f"{pc} {unit} {self.text(pc)} {self.source(pc)} {self.region(pc)}"

    def matches(self, wanted: str, begin: int, end: int) -> Iterator[int]:
        """Instructions in [begin, end) that contain all words of `wanted`, whatever their case."""
        words = wanted.casefold().split()
        for pc in range(begin, end):
            text = self.searchable(pc).casefold()
            if all(word in text for word in words):
                yield pc

    def uses_of(self, region: str) -> list[int]:
        """Instructions that read or write a region."""
        return [pc for pc, name in enumerate(self.debug.regions) if name == region]


def _sections(debug: DebugInfo, count: int) -> tuple[Section, ...]:
    """A layer begins at its first instruction; instructions of other layers in between do not end it."""
    borders: list[tuple[int, str]] = [(0, "prologue")]
    newest, last = -1, -1
    for pc in range(count):
        node = debug.node_of(pc)
        layer = node.source.layer if node is not None else -1
        if layer > newest:
            newest = layer
            borders.append((pc, f"layer {layer}"))
        if layer >= 0:
            last = pc
    if newest >= 0 and last + 1 < count:
        borders.append((last + 1, "head"))
    ends = [begin for begin, _ in borders[1:]] + [count]
    return tuple(Section(title, begin, end) for (begin, title), end in zip(borders, ends, strict=True) if begin < end)


def open_program(folder: Path) -> Program:
    """Open the program of a build.

    Raises:
        ArtifactError: missing, damaged or of another version.
    """
    return Program(folder)


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise ArtifactError(f"{path.name} is larger than {limit} bytes", RECOMPILE)
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path.name} cannot be read: {error.strerror}", RECOMPILE) from None


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path.name} cannot be mapped: {error}", RECOMPILE) from None
