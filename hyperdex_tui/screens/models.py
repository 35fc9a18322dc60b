"""First screen: the models of the prefix, their phases and builds, and what to do with them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.errors import HyperDexError
from hyperdex_tui.backend.inventory import BuildEntry, ModelEntry, read_inventory
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import (
    LineChanged,
    LineEntered,
    OpenCompile,
    OpenGenerate,
    OpenInstructions,
    OpenJobs,
    OpenMemory,
    OpenRun,
    RowChosen,
    RowMoved,
)
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.state import Place
from hyperdex_tui.widgets.model_list import ModelList
from hyperdex_tui.widgets.painted import Line, Pane, line

_WATCH_S = 1.0
"""Seconds until the prefix is read again while a compile works in it."""


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
        self.view_filter = filter_text

    def compose_body(self) -> ComposeResult:
        """List and detail."""
        yield ModelList()
        yield Pane(id="model-detail", classes="detail")

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
        self._models = models
        if any(model.job for model in models):  # look again until it is done; otherwise nothing ticks
            self.set_timer(_WATCH_S, self._watch)
        listing = self.query_one(ModelList)
        listing.show(models, self.view_filter)
        if self._select:
            wanted, self._select = self._select, ""
            if not listing.select(wanted) and self._is_asked:
                self.say(f"{wanted} is not here yet: choose how to compile it")
                self.post_message(OpenCompile(wanted))

    @property
    def place(self) -> Place:
        """The model under the cursor, and the filter."""
        model = self.query_one(ModelList).current_model
        return Place(self.scope, model.model_id if model is not None else "", "", self.view_filter)

    def on_row_moved(self, event: RowMoved) -> None:
        """Show the details of the row."""
        self.query_one("#model-detail", Pane).show(self._detail())

    def _detail(self) -> list[Line]:
        listing = self.query_one(ModelList)
        entry, model = listing.current, listing.current_model
        if entry is None or model is None:
            return []
        lines: list[Line] = [line((model.model_id, "strong"), (f"  {model.architecture}", "dim"))]
        if model.summary:
            lines.append(line((model.summary, "text")))
        if model.note:
            lines.append(line(("✗ " + model.note, "bad")))
        if isinstance(entry, BuildEntry):
            devices = "1 device" if entry.num_devices == 1 else f"{entry.num_devices} devices"
            tokens = f", {entry.max_length:,} tokens" if entry.max_length else ""
            lines.append(
                line(("build ", "dim"), (entry.name, "accent"), f"  {entry.target}, {devices}, {entry.dtype}{tokens}")
            )
            if entry.stale:
                lines.append(line(("! stale: " + entry.stale, "warn"), "; press c to compile again"))
        lines.append(self._next_step(entry))
        if len(self._models) == 1 and model.bundled:
            lines.append(line("Any other model: ", ("a", "accent"), " and its id on the Hugging Face Hub"))
        return lines

    def _next_step(self, entry: ModelEntry | BuildEntry) -> Line:
        build = self.query_one(ModelList).current_build
        if build is not None and build.complete:
            return line(
                ("i", "accent"), " instructions   ", ("m", "accent"), " memory map   ", ("p", "accent"), " prompt it"
            )
        if isinstance(entry, BuildEntry):
            return line(("c", "accent"), " compiles it to the end")
        return line("No build yet: ", ("c", "accent"), " chooses devices and compiles")

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
        model = self.query_one(ModelList).current_model
        if model is not None:
            self.post_message(OpenCompile(model.model_id))

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

    def action_jobs(self) -> None:
        """Compiles of the prefix."""
        self.post_message(OpenJobs())

    def action_filter(self) -> None:
        """Type a filter."""
        self.open_prompt("filter", "filter ", self.view_filter, "part of a model id")

    def action_add(self) -> None:
        """Type a model id."""
        self.open_prompt("add", "model id ", "", "for example facebook/opt-125m; phase 1 downloads it")

    def on_line_changed(self, event: LineChanged) -> None:
        """Filter while typing."""
        if event.purpose == "filter":
            self.view_filter = event.text
            self.query_one(ModelList).show(self._models, event.text)

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
        self.view_filter = ""
        self.query_one(ModelList).show(self._models, "")
        return True
