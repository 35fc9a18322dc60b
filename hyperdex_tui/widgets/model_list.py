"""The models of a prefix with their builds indented below them, and what the hub has under the same filter."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len

from compiler.found_model import FoundModel
from compiler.quantity import bytes_text, counted, parameters_text
from hyperdex_tui.backend.inventory import BuildEntry, ModelEntry
from hyperdex_tui.formatting import cut, pad, pad_left
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.painted import Line, Span, line
from hyperdex_tui.widgets.row_list import RowList

_PHASES, _SIZE, _PARAMETERS, _DTYPE = 15, 10, 8, 11
"""Cells of the columns on the right; dtype needs a wide terminal."""

_WIDE = 100
_LONGEST_NAME = 96
_NO_MORE = "hub: no other text-generation model by this name"
_BYTES_PER_ELEMENT = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True, slots=True)
class HubAnswer:
    """How a search of the hub stands: `entries` once `is_done`, else what is going on or went wrong."""

    entries: tuple[FoundModel, ...] = ()
    message: str = ""
    is_done: bool = False
    is_problem: bool = False


@dataclass(frozen=True, slots=True)
class HubTitle:
    """The row between the prefix and the hub."""

    text: str
    role: str
    model_id: str = ""


Entry = ModelEntry | BuildEntry | FoundModel | HubTitle


def badges(model: ModelEntry) -> Line:
    """`0✓ 1✓ 2· 3· 4·`: which phases have a result; `0✗` for a model that cannot have one."""
    spans: list[Span] = []
    for phase, done in enumerate(model.phases):
        spans.append((f"{phase}✓ " if done else f"{phase}· ", "good" if done else "dim"))
    return [("0✗ ", "bad"), *spans[1:]] if model.unsupported else spans


class ModelList(RowList):
    """Rows are models and builds; a filter keeps models whose id contains it, with all their builds."""

    def __init__(self) -> None:
        super().__init__(id="model-list")
        self._models: tuple[ModelEntry, ...] | None = None
        self._rows: tuple[Entry, ...] = ()
        self.filter = ""

    def show(self, models: tuple[ModelEntry, ...], filter_text: str, hub: HubAnswer | None = None) -> None:
        """Show an inventory, and a search of the hub; the cursor stays on the same model or build."""
        before, same_filter = self.current, filter_text == self.filter
        self._models, self.filter = models, filter_text
        wanted = filter_text.casefold().strip()
        rows: list[Entry] = []
        for model in models:
            if wanted in model.model_id.casefold():
                rows += (model, *model.builds)
        if hub is not None:
            here = {model.model_id for model in models}
            others = [entry for entry in hub.entries if entry.model_id not in here]
            rows += (_hub_title(hub, len(others)), *others)
        if tuple(rows) != self._rows or before is None:
            self._rows = tuple(rows)
            self.rows_changed(self._find(before, self.cursor if same_filter else 0))

    def _find(self, entry: Entry | None, otherwise: int) -> int:
        """The row of an entry, else of its model: the next key is meant for it."""
        if entry is None:
            return 0
        found = (index for index, row in enumerate(self._rows) if _identity(row) == _identity(entry))
        model = (index for index, row in enumerate(self._rows) if entry.model_id and row.model_id == entry.model_id)
        return next(found, next(model, otherwise))

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
    def current_id(self) -> str:
        """Id of the model the cursor is on or below, here or on the hub; "" elsewhere."""
        return self.current.model_id if self.current is not None else ""

    @property
    def current_model(self) -> ModelEntry | None:
        """The model of the prefix the cursor is on or below."""
        wanted = self.current_id
        return next((row for row in self._rows if isinstance(row, ModelEntry) and row.model_id == wanted), None)

    @property
    def current_build(self) -> BuildEntry | None:
        """The build the cursor is on, else the first complete build of the model."""
        row = self.current
        if isinstance(row, BuildEntry):
            return row
        for build in row.builds if isinstance(row, ModelEntry) else ():
            if build.complete:
                return build
        return None

    @property
    def table_name(self) -> str:
        """Words for the name of an exported file."""
        return "models"

    def row_count(self) -> int:
        """Models and builds that pass the filter, and the hub's."""
        return len(self._rows)

    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return ("model_id", "build", "where", "architecture", "parameters", "dtype", "licence", "size_bytes", "state")

    def cells(self, index: int) -> tuple[Cell, ...]:
        """Values of a row."""
        entry = self._rows[index]
        if isinstance(entry, BuildEntry):
            state, _ = _build_state(entry)
            return (entry.model_id, entry.name, "prefix", None, None, entry.dtype, None, entry.bytes, state)
        if isinstance(entry, HubTitle):
            return (None, None, "hub", None, None, None, None, None, entry.text)
        facts = (entry.architecture or None, entry.parameters or None, entry.dtype or None, entry.licence or None)
        if isinstance(entry, FoundModel):
            return (entry.model_id, None, "hub", *facts, None, entry.access)
        phases = " ".join(str(number) for number, done in enumerate(entry.phases) if done)
        where = "bundled" if entry.bundled else "prefix"
        return (entry.model_id, None, where, *facts, entry.bytes, entry.note or entry.unsupported or f"phases {phases}")

    def _room(self, width: int) -> int:
        """Cells of the name: what the columns leave, but no more than the eye follows."""
        return max(12, min(_LONGEST_NAME, width - self._right(width)))

    def _right(self, width: int) -> int:
        return _PHASES + _SIZE + _PARAMETERS + (_DTYPE if width >= _WIDE else 0)

    def heading(self, width: int) -> Line:
        """Column titles."""
        room = self._room(width - 2)
        dtype = pad("  Dtype", _DTYPE) if width - 2 >= _WIDE else ""
        titles = f"{pad_left('Param.', _PARAMETERS)}{dtype} {pad('Phases', _PHASES - 1)}{pad_left('Size', _SIZE)}"
        return line((f"  {pad('Model / build', room)}{titles}", "head"))

    def row(self, index: int, width: int) -> Line:
        """A model, a build below it, or a model of the hub."""
        entry = self._rows[index]
        if isinstance(entry, HubTitle):
            text = cut(f"── {entry.text} ", width)
            return line((text, entry.role), ("─" * (width - cell_len(text)), "dim"))
        room = self._room(width)
        if isinstance(entry, BuildEntry):
            return self._build_row(entry, room, width)
        note, role = (
            (entry.note, "bad") if isinstance(entry, ModelEntry) and entry.note else (entry.architecture, "dim")
        )
        if isinstance(entry, ModelEntry):
            middle, size = badges(entry), bytes_text(entry.bytes) if entry.bytes else "-"
            note = f"{note}, bundled" if entry.bundled and not entry.note else note
            if entry.unsupported and not entry.note:
                note, role = f"✗ not supported: {entry.architecture}", "bad"
            if entry.job:
                note, role = "▶ at work, Enter follows", "accent"
        else:
            known = "" if entry.is_supported else "✗ not supported: " if entry.architecture else "? "
            note, role = known + note, "dim" if entry.is_supported else "warn"
            access = "private" if entry.is_private else "gated" if entry.gating else "open"
            middle, size = line((pad(access, _PHASES), "warn" if access != "open" else "good")), _hub_size(entry)
        name = entry.model_id if len(entry.model_id) > room - 12 else f"{entry.model_id}  "
        used = min(len(name), room)
        dtype = ((pad(f"  {entry.dtype}", _DTYPE), "dim"),) if width >= _WIDE else ()
        return line(
            (pad(name, used), "strong"),
            (pad(note, room - used), role),
            (pad_left(parameters_text(entry.parameters), _PARAMETERS), "text"),
            *dtype,
            (" ", "text"),
            *middle,
            (pad_left(size, _SIZE - 1), "text"),
        )

    def _build_row(self, entry: BuildEntry, room: int, width: int) -> Line:
        state, role = _build_state(entry)
        name = f"  └ {entry.name}"
        used = min(max(len(name) + 2, 22), room)
        dtype = pad(f"  {entry.dtype}", _DTYPE) if width >= _WIDE else ""
        ready = [("3✓ " if entry.has_param else "3· "), ("4✓ " if entry.has_inst else "4· ")]
        return line(
            (pad(name, used), "text"),
            (pad(state, room - used), role),
            (" " * _PARAMETERS + dtype, "dim"),
            ("          ", "text"),
            *((text, "good" if "✓" in text else "dim") for text in ready),
            (pad_left(bytes_text(entry.bytes) if entry.bytes else "-", _SIZE - 1), "text"),
        )

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """Scanning, nothing found, or nothing that passes the filter."""
        if self._models is None:
            return (line(("  Reading the prefix …", "dim")),)
        if self.filter:
            return (line(("  No model contains ", "dim"), (self.filter, "accent"), (".  Esc shows all.", "dim")),)
        return (line(("  No model here yet.", "text")), line("  Press ", ("a", "accent"), " and type a model id."))


def _hub_title(hub: HubAnswer, count: int) -> HubTitle:
    if hub.is_problem:
        return HubTitle(f"✗ hub: {hub.message}", "warn")
    if not hub.is_done:
        return HubTitle(f"▶ hub: {hub.message}", "accent")
    return HubTitle(f"hub: {counted(count, 'more model')}, most downloaded first" if count else _NO_MORE, "dim")


def _hub_size(entry: FoundModel) -> str:
    size = entry.parameters * _BYTES_PER_ELEMENT.get(entry.dtype, 0)
    return f"~{bytes_text(size)}" if size else "-"


def _build_state(build: BuildEntry) -> tuple[str, str]:
    if build.stale:
        return f"stale: {build.stale}", "warn"
    if not build.complete:
        return "incomplete", "warn"
    return (f"{build.max_length:,} tokens" if build.max_length else "ready"), "dim"


def _identity(entry: Entry) -> tuple[str, str]:
    return entry.model_id, entry.name if isinstance(entry, BuildEntry) else ""
