"""A program on disk, mapped and decoded one instruction at a time.

Opens the instruction folder of a build without numpy: words and debug
information stay in their files, so opening costs the same for ten thousand and
ten million instructions.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from pathlib import Path

from compiler.artifacts.debug import DebugTables
from compiler.artifacts.manifest import MANIFEST, Manifest, debug_file, program_file
from compiler.debug_info import Node, PassReport
from compiler.errors import ArtifactError, AssemblyError
from compiler.header import HEADER_BYTES, Payload, check_header
from compiler.isa.encode import Instruction, decode
from compiler.isa.spec import INSTRUCTION_BYTES, ISA_VERSION
from compiler.isa.text import format_instruction
from compiler.strict_json import RECOMPILE
from hyperdex_tui.backend.mapped import map_file, read_file
from hyperdex_tui.backend.sections import Sections

_MANIFEST_LIMIT = 16 << 20
_LABEL_LIMIT = 10_000
_PASS_LIMIT = 1_000


class Program:
    """The instructions of a build with their debug information.

    Attributes:
        manifest: of the instruction folder.
        count: instructions.
        tables: debug information, None where it is missing or damaged; `note` says so.
        labels: instruction index -> name; `targets`: name -> index.
        passes: what each pass did.
        sections: consecutive, covering the whole program.
        note: what is wrong with the build beside the words, "" when nothing is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = Manifest.from_json(read_file(folder / MANIFEST, _MANIFEST_LIMIT), "inst", MANIFEST)
        name = program_file(self.manifest.num_devices)
        self.words = map_file(folder / name)
        version = check_header(self.words[:HEADER_BYTES], Payload.PROGRAM, name)
        if version != ISA_VERSION:
            raise ArtifactError(f"{name} has instruction set {version}, this program reads {ISA_VERSION}", RECOMPILE)
        size = len(self.words) - HEADER_BYTES
        self.count = size // INSTRUCTION_BYTES
        self.note = f"{name} has {size % INSTRUCTION_BYTES} bytes too many" if size % INSTRUCTION_BYTES else ""
        self.tables: DebugTables | None = None
        self.targets: Mapping[str, int] = {}
        self.passes: tuple[PassReport, ...] = ()
        self.sections = Sections(array("i", [0]), array("i", [-1]), self.count)
        try:
            self._open_debug(folder / debug_file(self.manifest.num_devices))
        except ArtifactError as error:
            self.note = str(error)
        self.labels = {pc: label for label, pc in self.targets.items()}

    def _open_debug(self, path: Path) -> None:
        tables = DebugTables(map_file(path), self.count, path.name)
        begins, layers = tables.layer_columns()
        self.targets = dict(tables.label(index) for index in range(min(_LABEL_LIMIT, tables.count("labels"))))
        self.passes = tuple(tables.pass_report(index) for index in range(min(_PASS_LIMIT, tables.count("passes"))))
        if begins:
            self.sections = Sections(begins, layers, self.count)
        self.tables = tables

    def close(self) -> None:
        """Unmap the words."""
        self.words.close()
        if self.tables is not None:
            self.tables.close()

    def word(self, pc: int) -> bytes:
        """The 32 bytes of an instruction."""
        at = HEADER_BYTES + pc * INSTRUCTION_BYTES
        return self.words[at : at + INSTRUCTION_BYTES]

    def instruction(self, pc: int) -> Instruction | None:
        """The instruction, None for a word that is none."""
        try:
            return decode(self.word(pc))
        except AssemblyError:
            return None

    def text(self, pc: int) -> str:
        """Assembly text."""
        return word_text(self.word(pc), self.labels)

    def node_index(self, pc: int) -> int:
        """Number of the graph node behind an instruction, -1 when there is none or its record is damaged."""
        try:
            return self.tables.node_index(pc) if self.tables is not None else -1
        except ArtifactError as error:
            self.note = str(error)
            return -1

    def node(self, pc: int) -> Node | None:
        """The graph node behind an instruction; None when there is none or its record is damaged (see `note`)."""
        index = self.node_index(pc)
        return self.node_at(index) if index >= 0 else None

    def node_at(self, index: int) -> Node | None:
        """Graph node `index`; None when its record is damaged."""
        try:
            return self.tables.node(index) if self.tables is not None else None
        except ArtifactError as error:
            self.note = str(error)
            return None

    def short_source(self, pc: int) -> str:
        """Tensor, module or node behind an instruction, without the path to the layer, which the section names."""
        node = self.node(pc)
        if node is None:
            return ""
        whole = str(node)
        return whole.partition(f".{node.source.layer}.")[2] or whole

    def region(self, pc: int) -> str:
        """Name of the memory region an instruction reads or writes, or ""."""
        if self.tables is None:
            return ""
        try:
            index = self.tables.region_index(pc)
            return self.tables.region(index) if index >= 0 else ""
        except ArtifactError as error:
            self.note = str(error)
            return ""

    def section_at(self, pc: int) -> int:
        """Index of the section of an instruction."""
        return self.sections.index_of(pc)


def word_text(word: bytes, labels: Mapping[int, str]) -> str:
    """Assembly text of an instruction word."""
    try:
        return format_instruction(decode(word), labels)
    except AssemblyError:
        return f"<not an instruction: {word[:4].hex()}…>"


def open_program(folder: Path) -> Program:
    """Open the program of a build.

    Raises:
        ArtifactError: missing, damaged or of another version.
    """
    return Program(folder)


def other_programs(folder: Path) -> tuple[str, ...]:
    """Names of the model's other instruction folders; none where they cannot be listed any more."""
    try:
        found = sorted(path.name for path in folder.parent.iterdir() if (path / MANIFEST).is_file())
    except OSError:
        return ()
    return tuple(name for name in found if name != folder.name)
