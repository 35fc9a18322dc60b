"""What every screen shares: title bar, body, prompt line, key bar, copying, and one meaning of Esc."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.messages import Prune
from textual.screen import Screen

from compiler.quantity import counted
from compiler.sanitize import one_line
from hyperdex_tui.clipboard import LIMIT_BYTES
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import CopyText, GoBack
from hyperdex_tui.state import Place
from hyperdex_tui.tabular import Tabular, row_text
from hyperdex_tui.widgets.bars import KeyBar, TitleBar
from hyperdex_tui.widgets.painted import Painted
from hyperdex_tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from hyperdex_tui.widgets.prompt_line import PromptLine

Severity = Literal["information", "warning", "error"]

_ROLES: dict[Severity, str] = {"information": "strong", "warning": "warn", "error": "bad"}


class AppScreen(Screen[None]):
    """A full screen of the app. Subclasses set `scope` and compose a body.

    Attributes:
        model_id, build: what it shows, "" where that is no model or build.
        view_filter: the filter in force, remembered with the place.
    """

    scope: ClassVar[str] = "app"
    model_id = ""
    build = ""
    view_filter = ""
    BINDINGS: ClassVar[list[BindingType]] = bindings("view")
    AUTO_FOCUS = "RowList"

    def __init__(self, trail: str, note: str = "") -> None:
        super().__init__()
        self.trail = trail
        self._first_note = note
        self._prompt_line: PromptLine | None = None
        self._told = ""

    def compose(self) -> ComposeResult:
        """Bars around the body."""
        yield TitleBar(self.trail, note=self._first_note)
        yield from self.compose_body()
        yield KeyBar(self.scope, self.offers)

    def compose_body(self) -> ComposeResult:
        """The part between the bars."""
        raise NotImplementedError

    @property
    def is_there(self) -> bool:
        """Whether its widgets can be asked for: they are composed, and nothing takes the screen down."""
        return self.is_mounted and self.display

    async def on_prune(self, event: Prune) -> None:
        """Workers end before the widgets that they would write to."""
        self.workers.cancel_node(self)

    def note(self, text: str) -> None:
        """Set the right part of the title bar."""
        self.query_one(TitleBar).show(note=text)

    def say(self, text: str, severity: Severity = "information") -> None:
        """A short message in the key bar; `text` is never read as markup."""
        for bar in self.query(KeyBar):  # none before the screen is composed
            bar.say(one_line(text), _ROLES[severity])

    def offers(self, action: str) -> bool:
        """Whether the key bar shows the key of an action: whether it means something as things stand."""
        return True

    def recheck_keys(self) -> None:
        """To be called when `offers` may answer otherwise."""
        for bar in self.query(KeyBar):
            bar.recheck()

    def tell_once(self, problem: str) -> None:
        """Warn of what is wrong with what the screen shows, unless that was the last warning."""
        if problem and problem != self._told:
            self.say(problem, "warning")
        self._told = problem or self._told

    def open_prompt(self, purpose: str, label: str, initial: str = "", placeholder: str = "") -> None:
        """Show the prompt line above the key bar; a second call replaces the first."""
        from hyperdex_tui.widgets.prompt_line import PromptLine

        if self._prompt_line is not None:
            self._prompt_line.remove()
        bar = self.query_one(KeyBar)
        bar.show("prompt")
        self._prompt_line = PromptLine(purpose, label, initial, placeholder)
        self.mount(self._prompt_line, before=bar)

    def type_ahead(self, event: events.Key) -> bool:
        """Take a key that was meant for the prompt line although something else had the keyboard."""
        return self._prompt_line is not None and self._prompt_line.take(event)

    def close_prompt(self) -> bool:
        """Remove the prompt line and give the keyboard back; False when there was none."""
        if self._prompt_line is None:
            return False
        self._prompt_line.remove()
        self._prompt_line = None
        self.query_one(KeyBar).show(self.scope)
        for widget in self.query(Painted):
            if widget.can_focus:
                widget.focus()
                break
        return True

    @property
    def place(self) -> Place:
        """Where the user is, for the next start."""
        return Place(self.scope, self.model_id, self.build, self.view_filter)

    @property
    def table(self) -> Tabular | None:
        """What copying and export are about: the list with the keyboard, else the first one."""
        if isinstance(self.focused, RowList):
            return self.focused
        return next(iter(self.query(RowList)), None)

    def _rows(self) -> Tabular | None:
        table = self.table
        if table is None or not table.row_count():
            self.say("no rows here to copy or export", "warning")
            return None
        return table

    def action_copy(self) -> None:
        """The marked rows, else the row under the cursor, as tab-separated text."""
        if table := self._rows():
            rows = table.marked or range(table.cursor, table.cursor + 1)
            if len(rows) > LIMIT_BYTES:  # a row has a byte at least: make no text of millions
                self.say(f"{len(rows):,} rows are too many for a clipboard: e writes them to a file", "warning")
                return
            text = "\n".join(row_text(table.cells(index)) for index in rows)
            self.post_message(CopyText(text, counted(len(rows), "row")))
            self.action_unmark()

    def action_unmark(self) -> bool:
        """End marking; False when nothing was marked."""
        return sum(listing.unmark() for listing in self.query(RowList)) > 0

    def action_copy_cell(self) -> None:
        """Choose a cell of the row and copy it."""
        from hyperdex_tui.screens.cells import CellScreen

        if table := self._rows():
            self.app.push_screen(CellScreen(table.columns(), table.cells(table.cursor)), self._copy_chosen)

    def _copy_chosen(self, text: str | None) -> None:
        if text:
            self.post_message(CopyText(text, "1 cell"))

    def action_export(self) -> None:
        """Write the rows to a file."""
        from hyperdex_tui.screens.export import ExportScreen

        if table := self._rows():
            words = (*self.model_id.split("/"), self.build, table.table_name)
            stem = "-".join(word for word in words if word)
            self.app.push_screen(ExportScreen(table, stem), lambda wrote: self.say(wrote) if wrote else None)

    def step_back(self) -> bool:
        """Undo the last narrowing of the view; False when there is nothing left but to leave."""
        return False

    def action_back(self) -> None:
        """Esc: the prompt, then the marks, then the narrowing, then the screen."""
        if not self.close_prompt() and not self.action_unmark() and not self.step_back():
            self.post_message(GoBack())
