"""The emulator as a debugger: program, values, tokens, breakpoints, counters of a machine in a process of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from compiler.errors import HyperDexError
from hyperdex_tui.backend.emulator import Emulator
from hyperdex_tui.backend.program import open_program
from hyperdex_tui.backend.verification import compare_with_transformers, verify_command
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import OpenGenerate, OpenInstructions, OpenMemory, OpenTimeline, RowMoved
from hyperdex_tui.screens.machine_commands import MachineCommands
from hyperdex_tui.widgets.machine_listing import MachineListing
from hyperdex_tui.widgets.machine_status import status_lines
from hyperdex_tui.widgets.machine_view import MachineView
from hyperdex_tui.widgets.painted import Pane

WIDE = 140
"""Columns from which values and tokens stay in sight beside listing and chosen view."""


class MachineScreen(MachineCommands):
    """Status on top, listing below it, the chosen view at the bottom; wide terminals show four panes."""

    scope = "machine"
    AUTO_FOCUS = "#machine-listing"
    BINDINGS: ClassVar[list[BindingType]] = bindings("machine")

    def __init__(self, emulator: Emulator, folder: Path, model_id: str, build: str, pc: int = -1) -> None:
        super().__init__(emulator, f"{model_id} › {build} › Machine")
        self.model_id = model_id
        self.build = build
        self._folder = folder
        self._pc = pc
        self._comparing = False

    def compose_body(self) -> ComposeResult:
        """Status, listing and values, chosen view and tokens."""
        yield Pane(id="machine-state")
        with Horizontal(id="machine-top"):
            yield MachineListing()
            with Vertical(classes="machine-side"):
                yield MachineView("values", "machine-values", fixed=True)
        with Horizontal(id="machine-bottom"):
            yield MachineView("values", "machine-view")
            with Vertical(classes="machine-side"):
                yield MachineView("tokens", "machine-tokens", fixed=True)

    def on_mount(self) -> None:
        """Open the program and find the machine."""
        self._lay_out()
        self.run_worker(self._open(), group="open")
        self.run_worker(self._connect(), group="connect")

    def on_resize(self) -> None:
        """Two panes or four."""
        self._lay_out()

    def _lay_out(self) -> None:
        wide = self.app.size.width >= WIDE
        for side in self.query(".machine-side"):
            side.display = wide
        view = self.query_one("#machine-view", MachineView)
        if wide and view.chosen == "values":
            view.chosen = "registers"

    async def _open(self) -> None:
        listing = self.query_one(MachineListing)
        try:
            self._program = await asyncio.to_thread(open_program, self._folder)
        except HyperDexError as error:
            listing.problem = str(error)
            listing.rows_changed()
            return
        listing.open(self._program, self._pc)
        self._changed()

    async def _connect(self) -> None:
        await self._machine.connect()
        if self._pc >= 0 and self._machine.hello is not None:
            await self._break_at(self._pc)
        if self._machine.has_prompt:
            await self._look()

    def focus_on(self, pc: int) -> None:
        """Put the cursor on an instruction and a breakpoint there; -1: leave everything as it is."""
        if pc >= 0:
            self.query_one(MachineListing).move_to(pc)
            self.run_worker(self._break_at(pc), group="command")

    async def _break_at(self, pc: int) -> None:
        if pc not in self._machine.sites():
            await self._machine.command("break", kind="pc", value=str(pc))

    def on_unmount(self) -> None:
        """Let go of the file; the machine keeps its state, but nobody waits for a run."""
        if self._program is not None:
            self._program.close()
        if self._machine.busy:
            self._machine.interrupt()

    # what is shown

    def _changed(self) -> None:
        """The machine said something: repaint what differs."""
        if not self.is_there:
            return
        machine, stopped = self._machine, self._machine.stopped
        self.query_one("#machine-state", Pane).show(status_lines(machine, self._program, max(20, self.size.width - 2)))
        if self._program is not None:
            progress = machine.progress
            pc = progress.pc if progress is not None else stopped.pc if stopped is not None else -1
            if not machine.has_prompt and not machine.busy:
                pc = -1
            self.query_one(MachineListing).stand(pc, machine.sites(), follow=self._pc < 0 or machine.has_prompt)
        for view in self.query(MachineView):
            if view.display and (view.parent is None or view.parent.display):
                view.show(machine)

    def on_row_moved(self, event: RowMoved) -> None:
        """What is wrong with the files may show only when a row is looked at."""
        if self._program is not None:
            self.tell_once(self._program.note)

    def action_compare(self) -> None:
        """Hold the build against transformers, in a process of its own; a wrong instruction is gone to."""
        if self._comparing:
            self.say("the comparison with transformers goes on")
            return
        self._comparing = True
        self.note("comparing with transformers …")
        self.run_worker(self._compare(), group="compare")

    async def _compare(self) -> None:
        prefix = self._folder.parents[2 + self.model_id.count("/")]
        try:
            verdict = await compare_with_transformers(verify_command(prefix, self.model_id, self.build))
        except HyperDexError as error:
            self.note("comparison failed")
            self.say(str(error), "error")
            return
        finally:
            self._comparing = False
        if verdict.pc >= 0:
            self.query_one(MachineListing).move_to(verdict.pc)
        where = f"differs first at pc {verdict.pc}" if verdict.pc >= 0 else "differs"
        self.note("agrees with transformers" if verdict.passed else f"{where} from transformers")
        self.say(verdict.text, "information" if verdict.passed else "error")

    # other screens

    def action_timeline(self) -> None:
        """The token that is fed, in time."""
        stopped = self._machine.stopped
        self.post_message(OpenTimeline(self.model_id, self.build, stopped.position if stopped is not None else 0))

    def action_instructions(self) -> None:
        """The instruction under the cursor in the whole program."""
        self.post_message(OpenInstructions(self.model_id, self.build, self.query_one(MachineListing).cursor))

    def action_memory(self) -> None:
        """Memory map, on the region of the instruction under the cursor."""
        region = self._program.region(self.query_one(MachineListing).cursor) if self._program is not None else ""
        self.post_message(OpenMemory(self.model_id, self.build, region))

    def action_prompt(self) -> None:
        """Generate tokens."""
        self.post_message(OpenGenerate(self.model_id, self.build))

    def step_back(self) -> bool:
        """Stop a run first."""
        if self._machine.busy not in ("run", "step"):
            return False
        self.action_stop()
        return True
