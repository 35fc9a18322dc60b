"""Write the rows of a view to a file: name and format asked, never over an existing file unasked."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen
from textual.widgets import Input
from textual.worker import Worker

from compiler.errors import HyperDexError
from compiler.publish import explain, publish_file
from compiler.quantity import bytes_text
from hyperdex_tui.formatting import wrap
from hyperdex_tui.keys import bindings
from hyperdex_tui.tabular import FORMATS, Cell, Tabular, written
from hyperdex_tui.widgets.bars import KeyBar
from hyperdex_tui.widgets.painted import Line, Pane, line

_SLICE_S = 0.008
"""How long rows are made before the keyboard is looked at."""

_REPAINT_S = 0.1


class ExportScreen(ModalScreen[str]):
    """Dismisses with one line about the file, None when the user left.

    Args:
        table: what to write: its marked rows, or all.
        stem: proposed name without extension.
    """

    scope: ClassVar[str] = "export"
    BINDINGS: ClassVar[list[BindingType]] = bindings("export")

    def __init__(self, table: Tabular, stem: str) -> None:
        super().__init__()
        self._table = table
        self._rows = table.marked or range(table.row_count())
        self._stem = stem
        self._format = FORMATS[1]
        self._agreed = ""
        self._worker: Worker[None] | None = None
        self._done = 0
        self._is_publishing = False

    def compose(self) -> ComposeResult:
        """Name, what will happen, keys."""
        entry = Input(f"{self._stem}.{self._format}", id="export-name", compact=True, select_on_focus=False)
        entry.cursor_blink = False
        yield Pane(id="export-head")
        yield entry
        yield Pane(id="export-state")
        yield KeyBar(self.scope)

    def on_mount(self) -> None:
        """Say what is about to be written."""
        kind = "marked rows" if self._table.marked else "rows"
        head = f"Export {len(self._rows):,} {kind}, {len(self._table.columns())} columns, to the file"
        self.query_one("#export-head", Pane).show([line((head, "strong"))])
        self._say()

    def _say(self, text: str = "", role: str = "dim") -> None:
        shown = [(name, "accent" if name == self._format else "dim") for name in FORMATS]
        parts: Line = line(("format ", "dim"), *((f"‹{n}› " if r == "accent" else f" {n}  ", r) for n, r in shown))
        room = max(20, self.size.width - 6)
        lines = wrap(text or f"in {Path.cwd()}, unless the name says otherwise", room, 2)
        self.query_one("#export-state", Pane).show([parts, *(line((part, role)) for part in lines)])

    @property
    def _path(self) -> Path:
        return Path(self.query_one(Input).value.strip()).expanduser()

    def action_next_format(self) -> None:
        """Another format, and its extension."""
        self._format = FORMATS[(FORMATS.index(self._format) + 1) % len(FORMATS)]
        entry = self.query_one(Input)
        if Path(entry.value).suffix.removeprefix(".") in FORMATS:
            entry.value = str(Path(entry.value).with_suffix(f".{self._format}"))
        self._say()

    def on_input_changed(self, event: Input.Changed) -> None:
        """An extension that is a format's name chooses it; another name is another question."""
        named = Path(event.value.strip()).suffix.removeprefix(".").lower()
        self._format = named if named in FORMATS else self._format
        self._agreed = ""
        self._say()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        self.action_write()

    def action_write(self) -> None:
        """Write, unless a file is in the way; a second Enter replaces it."""
        if self._worker is not None and self._worker.is_running:
            return
        if not self.query_one(Input).value.strip():
            self._say("✗ type a file name", "bad")
            return
        try:
            problem = self._in_the_way(self._path)
        except (OSError, RuntimeError, ValueError) as error:  # no such home folder, a name too long, a null byte
            problem = f"✗ {error}"
        if problem:
            self._say(problem, "bad" if problem.startswith("✗") else "warn")
            return
        self._worker = self.run_worker(self._write(self._path), exclusive=True, group="export")

    def _in_the_way(self, path: Path) -> str:
        """Why not to write yet; "" when nothing is there, or the user has agreed to replace it."""
        if not path.parent.is_dir():
            return f"✗ there is no folder {path.parent}"
        if path.is_dir():
            return f"✗ {path} is a folder"
        if not path.exists() or self._agreed == str(path):
            return ""
        if not path.is_file():
            return f"✗ {path} is no regular file"
        self._agreed = str(path)
        return f"! {path.name} exists, {bytes_text(path.stat().st_size)}: Enter again replaces it"

    async def _write(self, path: Path) -> None:
        self._is_publishing = False
        try:
            size = await self._publish(path)
        except HyperDexError as error:
            self._say(f"✗ {error}", "bad")
        except OSError as error:
            self._say(f"✗ {explain(error, path, in_prefix=False)}", "bad")
        else:
            self.dismiss(f"wrote {len(self._rows):,} rows, {bytes_text(size)}, to {path}")

    async def _publish(self, path: Path) -> int:
        """Rows to a nameless file in slices, then the whole to its place; its size in bytes."""
        columns = self._table.columns()
        with tempfile.TemporaryFile(dir=path.parent) as aside:
            begun = painted = time.monotonic()
            for piece in written(self._format, columns, self._counted(self._rows)):
                aside.write(piece.encode("utf-8", "replace"))
                now = time.monotonic()
                if now - begun >= _SLICE_S:
                    if now - painted >= _REPAINT_S:
                        painted = now
                        self._say(f"▶ {self._done:,} of {len(self._rows):,} rows; Esc stops", "accent")
                    await asyncio.sleep(0)
                    begun = time.monotonic()
            size = aside.tell()
            aside.seek(0)
            self._is_publishing = True  # from here on it is too late to stop
            await asyncio.to_thread(publish_file, path, lambda file: shutil.copyfileobj(aside, file))
            return size

    def _counted(self, rows: Iterable[int]) -> Iterator[tuple[Cell, ...]]:
        for self._done, index in enumerate(rows, 1):
            yield self._table.cells(index)

    def action_close(self) -> None:
        """Stop writing, which leaves nothing, or leave."""
        if self._worker is None or not self._worker.is_running:
            self.dismiss(None)
        elif not self._is_publishing:
            self._worker.cancel()
            self._say("■ stopped; nothing was written", "warn")
