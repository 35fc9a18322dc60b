"""First screen: the models of the prefix, their phases and builds, and what to do with them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.errors import HyperDexError
from compiler.quantity import bytes_text
from hyperdex_tui.backend.hub_search import LEAST_LETTERS, offline_reason, search_hub
from hyperdex_tui.backend.inventory import BuildEntry, ModelEntry, delete_build, read_inventory
from hyperdex_tui.backend.support import Support
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import (
    LineChanged,
    LineEntered,
    OpenCompile,
    OpenFit,
    OpenGenerate,
    OpenInstructions,
    OpenJobs,
    OpenMachine,
    OpenMemory,
    OpenRun,
    RowChosen,
    RowMoved,
    StartDownload,
)
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.state import Place
from hyperdex_tui.widgets.model_detail import ModelDetail
from hyperdex_tui.widgets.model_list import HubAnswer, ModelList

_WATCH_S = 1.0
"""Seconds until the prefix is read again while a compile works in it."""

_SETTLE_S = 0.3
"""Rest in the typing after which the hub is asked."""

_TALL, _USUAL, _SMALL = 36, 24, 14
"""Rows of a terminal from which the detail is taller, as tall as its text mostly is, and there at all."""


class ModelsScreen(AppScreen):
    """The list, a detail pane below it, and the actions on a model or build.

    Args:
        prefix: folder of all models.
        model_id: model to put the cursor on.
        is_asked: whether the user named that model: one that is not here is compiled then.
        filter_text: filter to begin with.
    """

    scope = "models"
    BINDINGS: ClassVar[list[BindingType]] = bindings("models")

    def __init__(self, prefix: Path, model_id: str = "", is_asked: bool = False, filter_text: str = "") -> None:
        super().__init__("Models", note=f"prefix {prefix}")
        self._prefix = prefix
        self._select = model_id
        self._is_asked = is_asked
        self._models: tuple[ModelEntry, ...] = ()
        self._support = Support(prefix)
        self._hub: HubAnswer | None = None
        self.view_filter = filter_text

    def compose_body(self) -> ComposeResult:
        """List and detail."""
        yield ModelList()
        yield ModelDetail()

    def on_resize(self) -> None:
        """A tall terminal has room for every sentence, a small one for the list alone."""
        rows = self.size.height
        self.query_one(ModelDetail).styles.height = 12 if rows >= _TALL else 8 if rows >= _USUAL else 4
        self.query_one(ModelDetail).display = rows >= _SMALL
        self.call_after_refresh(self._show_detail)

    def on_screen_resume(self) -> None:
        """Read the prefix whenever the screen comes to the front."""
        self.action_rescan()

    def action_rescan(self) -> None:
        """Read the prefix in a thread."""
        self.run_worker(self._scan(), exclusive=True, group="scan")

    def _watch(self) -> None:
        if self.is_current:
            self.action_rescan()

    async def _scan(self) -> None:
        models = await asyncio.to_thread(read_inventory, self._prefix)
        self._models = await asyncio.to_thread(self._support.settled, models)
        if any(model.job for model in models):  # look again until it is done; otherwise nothing ticks
            self.set_timer(_WATCH_S, self._watch)
        self._show()
        if self._select:
            wanted, self._select = self._select, ""
            if not self.query_one(ModelList).select(wanted) and self._is_asked:
                self.say(f"{wanted} is not here yet: choose how to compile it")
                self.post_message(OpenCompile(wanted))
        checked = await asyncio.to_thread(self._support.checked, models)
        if checked != self._models:
            self._models = checked
            self._show()

    def _show(self) -> None:
        hub = self._hub if self.view_filter.strip() else None
        self.query_one(ModelList).show(self._models, self.view_filter, hub)
        self._show_detail()
        self.note(f"find {self.view_filter}; Esc shows all" if self.view_filter else f"prefix {self._prefix}")

    def _set_filter(self, text: str) -> None:
        """Show what matches here at once, and ask the hub once the typing rests."""
        self.view_filter, self._hub = text, None
        self.run_worker(self._search(text.strip()), exclusive=True, group="hub")  # ends the search before
        self._show()

    async def _search(self, words: str) -> None:
        if len(words) < LEAST_LETTERS:
            return
        await asyncio.sleep(_SETTLE_S)
        try:
            if reason := await asyncio.to_thread(offline_reason):
                self._hub = HubAnswer(message=reason, is_problem=True)
            else:
                self._hub = HubAnswer(message=f"searching for {words} …")
                self._show()
                self._hub = HubAnswer(await search_hub(words), is_done=True)
        except HyperDexError as error:
            self._hub = HubAnswer(message=str(error), is_problem=True)
        self._show()

    @property
    def place(self) -> Place:
        """The model under the cursor, and the filter."""
        return Place(self.scope, self.query_one(ModelList).current_id, "", self.view_filter)

    def on_row_moved(self, event: RowMoved) -> None:
        """Show the details of the row."""
        self._show_detail()

    def _show_detail(self) -> None:
        listing = self.query_one(ModelList)
        self.query_one(ModelDetail).show_entry(listing.current, listing.current_model, listing.current_build)
        self.recheck_keys()

    def offers(self, action: str) -> bool:
        """Only what there is can be looked at."""
        listing = self.query_one(ModelList)
        if action in ("instructions", "memory", "prompt", "machine"):
            return listing.current_build is not None and listing.current_build.complete
        return bool(listing.current_id) if action in ("open", "compile", "fit") else True

    def on_row_chosen(self, event: RowChosen) -> None:
        """Enter."""
        self.action_open()

    def action_open(self) -> None:
        """The instructions of a build; the compile screen for a model without one."""
        entry, build = self.query_one(ModelList).current, self.query_one(ModelList).current_build
        if isinstance(entry, ModelEntry) and entry.job:
            self.post_message(OpenRun(entry.model_id, entry.job))
        elif build is not None and build.complete:
            self.post_message(OpenInstructions(build.model_id, build.name))
        else:
            self.action_compile()

    def action_compile(self) -> None:
        """Choose devices and compile."""
        if model_id := self.query_one(ModelList).current_id:
            self.post_message(OpenCompile(model_id))

    def action_fit(self) -> None:
        """Every target with one to many devices."""
        listing = self.query_one(ModelList)
        if model_id := listing.current_id:
            model = listing.current_model
            self.post_message(OpenFit(model_id, model.words if model is not None else ()))

    def action_download(self) -> None:
        """The checkpoint alone."""
        model = self.query_one(ModelList).current_model
        if model is not None and model.job:
            self.say("a compile of this model is at work: Enter follows it", "warning")
        elif model_id := self.query_one(ModelList).current_id:
            self.post_message(StartDownload(model_id))

    def action_delete(self) -> None:
        """Ask, naming sizes, then delete a build."""
        entry = self.query_one(ModelList).current
        if not isinstance(entry, BuildEntry):
            self.say("put the cursor on a build to delete it", "warning")
            return
        from hyperdex_tui.screens.ask import AskScreen

        question = f"Delete build {entry.name} of {entry.model_id}?"
        freed = f"Frees {bytes_text(entry.bytes)}. The checkpoint stays; compiling makes it again."
        self.app.push_screen(AskScreen(question, freed), lambda sure: self._delete(entry) if sure else None)

    def _delete(self, entry: BuildEntry) -> None:
        self.run_worker(self._remove(entry), group="delete")

    async def _remove(self, entry: BuildEntry) -> None:
        try:
            freed = await asyncio.to_thread(delete_build, self._prefix, entry.model_id, entry.name)
        except HyperDexError as error:
            self.say(str(error), "error")
        else:
            self.say(f"deleted {entry.name} of {entry.model_id}: {bytes_text(freed)} freed")
        self.action_rescan()

    def _with_build(self) -> BuildEntry | None:
        build = self.query_one(ModelList).current_build
        if build is None or not build.complete:
            self.say("no complete build here: press c to compile", "warning")
            return None
        return build

    def action_instructions(self) -> None:
        """Instruction list."""
        if build := self._with_build():
            self.post_message(OpenInstructions(build.model_id, build.name))

    def action_memory(self) -> None:
        """Memory map."""
        if build := self._with_build():
            self.post_message(OpenMemory(build.model_id, build.name))

    def action_prompt(self) -> None:
        """Generate tokens."""
        if build := self._with_build():
            self.post_message(OpenGenerate(build.model_id, build.name))

    def action_machine(self) -> None:
        """Step through the build."""
        if build := self._with_build():
            self.post_message(OpenMachine(build.model_id, build.name))

    def action_jobs(self) -> None:
        """Compiles of the prefix."""
        self.post_message(OpenJobs())

    def action_filter(self) -> None:
        """Type a part of a name."""
        self.open_prompt("filter", "find ", self.view_filter, "part of a model id, here and on the hub")

    def action_add(self) -> None:
        """Type a model id."""
        self.open_prompt("add", "model id ", "", "for example facebook/opt-125m; phase 1 downloads it")

    def on_line_changed(self, event: LineChanged) -> None:
        """Filter while typing."""
        if event.purpose == "filter":
            self._set_filter(event.text)

    def on_line_entered(self, event: LineEntered) -> None:
        """Keep the filter, or open the compile screen of the typed model."""
        if event.purpose == "add":
            from compiler.workspace import parse_model_id

            try:
                model_id = parse_model_id(event.text)
            except HyperDexError as error:
                self.say(str(error), "error")
                return
            self.post_message(OpenCompile(model_id))
        self.close_prompt()

    def step_back(self) -> bool:
        """Clear the filter."""
        if not self.view_filter:
            return False
        self._set_filter("")
        return True
