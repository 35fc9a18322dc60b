"""A program on disk, decoded one instruction at a time.

Opens the instruction folder of a build without numpy: words and debug
information stay in their files, so opening costs the same for ten thousand and
ten million instructions. A file that turns out damaged or is cut short while it is open leaves holes and a `note`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from mmap import mmap
from pathlib import Path

from compiler.artifacts.debug import Content, DebugTables
from compiler.artifacts.manifest import MANIFEST, Manifest, debug_file, program_file
from compiler.debug_info import Node, PassReport
from compiler.errors import ArtifactError, AssemblyError
from compiler.header import HEADER_BYTES, Payload, check_header
from compiler.isa.encode import Instruction, decode
from compiler.isa.spec import INSTRUCTION_BYTES, ISA_VERSION
from compiler.isa.text import format_instruction
from compiler.strict_json import RECOMPILE
from hyperdex_tui.backend.mapped import FileBytes, map_file, mark_of, read_file
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
        note: what is wrong with the build, "" when nothing is; looking at instructions may find more.
        mark: of the program file when it was opened.

    Args:
        folder: instruction folder of a build.
        mapped: map the files: faster to read whole, but the process ends when one is cut short meanwhile.
    """

    def __init__(self, folder: Path, *, mapped: bool = False) -> None:
        self.folder = folder
        self._open: Callable[[Path], FileBytes | mmap] = map_file if mapped else FileBytes
        self._files: list[FileBytes | mmap] = []
        self.manifest = Manifest.from_json(read_file(folder / MANIFEST, _MANIFEST_LIMIT), "inst", MANIFEST)
        name = program_file(self.manifest.num_devices)
        self._path = folder / name
        self.mark = mark_of(self._path)
        self.words: Content = self._opened(self._path)
        try:
            version = check_header(self.words[:HEADER_BYTES], Payload.PROGRAM, name)
            if version != ISA_VERSION:
                text = f"{name} has instruction set {version}, this program reads {ISA_VERSION}"
                raise ArtifactError(text, RECOMPILE)
        except ArtifactError:
            self.close()
            raise
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
        tables = DebugTables(self._opened(path), self.count, path.name)
        begins, layers = tables.layer_columns()
        self.targets = dict(tables.label(index) for index in range(min(_LABEL_LIMIT, tables.count("labels"))))
        self.passes = tuple(tables.pass_report(index) for index in range(min(_PASS_LIMIT, tables.count("passes"))))
        if begins:
            self.sections = Sections(begins, layers, self.count)
        self.tables = tables

    def _opened(self, path: Path) -> FileBytes | mmap:
        self._files.append(self._open(path))
        return self._files[-1]

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            file.close()

    @property
    def is_current(self) -> bool:
        """Whether the program file is still the one that was opened."""
        return mark_of(self._path) == self.mark

    def word(self, pc: int) -> bytes:
        """The 32 bytes of an instruction; none where the file does not hold them any more (see `note`)."""
        at = HEADER_BYTES + pc * INSTRUCTION_BYTES
        try:
            return self.words[at : at + INSTRUCTION_BYTES]
        except ArtifactError as error:
            self.note = str(error)
            return b""

    def instruction(self, pc: int) -> Instruction | None:
        """The instruction, None for a word that is none."""
        word = self.word(pc)
        try:
            return decode(word) if word else None
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
    if not word:
        return "<cut off>"
    try:
        return format_instruction(decode(word), labels)
    except AssemblyError:
        return f"<not an instruction: {word[:4].hex()}…>"


def open_program(folder: Path, *, mapped: bool = False) -> Program:
    """Open the program of a build, see `Program`.

    Raises:
        ArtifactError: missing, damaged or of another version.
    """
    return Program(folder, mapped=mapped)


def other_programs(folder: Path) -> tuple[str, ...]:
    """Names of the model's other instruction folders; none where they cannot be listed any more."""
    try:
        found = sorted(path.name for path in folder.parent.iterdir() if (path / MANIFEST).is_file())
    except OSError:
        return ()
    return tuple(name for name in found if name != folder.name)
