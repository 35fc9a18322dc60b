"""The models of a prefix with their builds indented below them."""

from __future__ import annotations

from compiler.quantity import bytes_text
from hyperdex_tui.backend.inventory import BuildEntry, ModelEntry
from hyperdex_tui.formatting import pad, pad_left
from hyperdex_tui.widgets.painted import Line, Span, line
from hyperdex_tui.widgets.row_list import RowList

Entry = ModelEntry | BuildEntry
_RIGHT = 18 + 10
"""Cells of the phases and size columns."""


def badges(phases: tuple[bool, ...]) -> Line:
    """`0✓ 1✓ 2· 3· 4·`: which phases have a result."""
    spans: list[Span] = []
    for phase, done in enumerate(phases):
        spans.append((f"{phase}✓ " if done else f"{phase}· ", "good" if done else "dim"))
    return spans


class ModelList(RowList):
    """Rows are models and builds; a filter keeps models whose id contains it, with all their builds."""

    def __init__(self) -> None:
        super().__init__(id="model-list")
        self._models: tuple[ModelEntry, ...] | None = None
        self._rows: tuple[Entry, ...] = ()
        self.filter = ""

    def show(self, models: tuple[ModelEntry, ...], filter_text: str) -> None:
        """Show an inventory; the cursor stays on the same model or build."""
        before = self.current
        self._models, self.filter = models, filter_text
        wanted = filter_text.casefold()
        rows: list[Entry] = []
        for model in models:
            if wanted in model.model_id.casefold():
                rows += (model, *model.builds)
        self._rows = tuple(rows)
        self.rows_changed(self._find(before))

    def _find(self, entry: Entry | None) -> int:
        for index, row in enumerate(self._rows):
            if entry is not None and _identity(row) == _identity(entry):
                return index
        return 0

    def select(self, model_id: str) -> bool:
        """Put the cursor on a model; False when it is not there."""
        for index, row in enumerate(self._rows):
            if row.model_id == model_id:
                self.move_to(index)
                return True
        return False

    @property
    def current(self) -> Entry | None:
        """What the cursor is on."""
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    @property
    def current_model(self) -> ModelEntry | None:
        """The model the cursor is on or below."""
        for row in reversed(self._rows[: self.cursor + 1]):
            if isinstance(row, ModelEntry):
                return row
        return None

    @property
    def current_build(self) -> BuildEntry | None:
        """The build the cursor is on, else the first complete build of the model."""
        row = self.current
        if isinstance(row, BuildEntry):
            return row
        for build in row.builds if row is not None else ():
            if build.complete:
                return build
        return None

    def row_count(self) -> int:
        """Models and builds that pass the filter."""
        return len(self._rows)

    def heading(self, width: int) -> Line:
        """Column titles."""
        room = max(12, width - 2 - _RIGHT)
        return line((f"  {pad('Model / build', room)}{pad('Phases', 16)}{pad_left('Size', 10)}  ", "head"))

    def row(self, index: int, width: int) -> Line:
        """A model, or a build below it."""
        entry = self._rows[index]
        room = max(12, width - _RIGHT)
        size = bytes_text(entry.bytes) if entry.bytes else "-"
        if isinstance(entry, ModelEntry):
            note = entry.note or ("bundled" if entry.bundled else entry.architecture)
            name = entry.model_id if len(entry.model_id) > room - 16 else f"{entry.model_id}  "
            role = "bad" if entry.note else "dim"
            if entry.job:
                note, role = "▶ compiling, Enter follows", "accent"
            used = min(len(name), room)
            return line(
                (pad(name, used), "strong"),
                (pad(note, room - used), role),
                *badges(entry.phases),
                (" " + pad_left(size, 10), "text"),
            )
        state, role = _build_state(entry)
        name = f"  └ {entry.name}"
        used = min(max(len(name) + 2, 22), room)
        ready = (*badges((entry.has_param, entry.has_inst)),)
        shifted = [
            (text.replace("0", "3", 1).replace("1", "4", 1) if text[0] in "01" else text, r) for text, r in ready
        ]
        return line(
            (pad(name, used), "text"),
            (pad(state, room - used), role),
            ("         ", "text"),
            *shifted,
            (" " + pad_left(size, 10), "text"),
        )

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """Scanning, nothing found, or nothing that passes the filter."""
        if self._models is None:
            return (line(("  Reading the prefix …", "dim")),)
        if self.filter:
            return (line(("  No model contains ", "dim"), (self.filter, "accent"), (".  Esc shows all.", "dim")),)
        return (line(("  No model here yet.", "text")), line("  Press ", ("a", "accent"), " and type a model id."))


def _build_state(build: BuildEntry) -> tuple[str, str]:
    if build.stale:
        return f"stale: {build.stale}", "warn"
    if not build.complete:
        return "incomplete", "warn"
    return (f"{build.max_length:,} tokens" if build.max_length else "ready"), "dim"


def _identity(entry: Entry) -> tuple[str, str]:
    return entry.model_id, entry.name if isinstance(entry, BuildEntry) else ""
