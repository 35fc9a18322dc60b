"""The app: themes, the clipboard, the launcher of compiles, the remembered state, and routes between screens."""

from __future__ import annotations

import gc
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import BindingType
from textual.screen import Screen

from compiler.cards import PCI_DEVICES
from compiler.errors import HyperDexError
from compiler.workspace import MAX_DEVICES, Workspace
from hyperdex_tui.backend.jobs import JobSpec, Launcher, job_file
from hyperdex_tui.hangup import on_hangup
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import (
    ColumnsChosen,
    CopyText,
    OpenCompile,
    OpenFit,
    OpenGenerate,
    OpenInstructions,
    OpenJobs,
    OpenMachine,
    OpenMemory,
    OpenRun,
    OpenTimeline,
    StartDownload,
)
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.screens.models import ModelsScreen
from hyperdex_tui.state import Place, load_state, save_state, state_path
from hyperdex_tui.themes import THEMES, next_theme

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.command import Provider
    from textual.events import Key

    from hyperdex_tui.backend.emulator import Emulators
    from hyperdex_tui.screens.base import Severity

_BUG_EXIT_CODE = 70


def _key_commands() -> type[Provider]:
    """The palette's commands, loaded when it is first opened."""
    from hyperdex_tui.commands import KeyCommands

    return KeyCommands


class HyperDexApp(App[None]):
    """The terminal app.

    Args:
        prefix: folder of all models.
        model_id: model to put the cursor on.
        state_file: where theme and place are kept between two starts; None: the user's own file.
        pci: where the kernel lists PCI devices.
    """

    TITLE = "HyperDex"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("app")
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[Any]] = {lambda: _key_commands()}

    def __init__(
        self, prefix: Path, model_id: str = "", state_file: Path | None = None, pci: Path = PCI_DEVICES
    ) -> None:
        self._pci = pci
        self._state_file = state_file or state_path()
        self._state, self._complaint = load_state(self._state_file)
        super().__init__()
        self.prefix = prefix
        self.launcher = Launcher(prefix)
        self._emulators: Emulators | None = None
        self._place = Place("models", model_id) if model_id else self._state.place(self.launcher.prefix)
        self._is_asked = bool(model_id)
        for theme in THEMES:
            self.register_theme(theme)
        known = {theme.name for theme in THEMES}
        name = self._state.theme if self._state.theme in known else THEMES[0].name
        self.set_reactive(App.theme, name)  # as if it had always been: setting it would parse the style sheet again
        self.stylesheet.set_variables(self.get_css_variables())

    def get_default_screen(self) -> Screen[None]:
        """The models."""
        place = self._place
        return ModelsScreen(
            self.prefix, place.model_id, self._is_asked, place.filter if place.screen == "models" else ""
        )

    def on_mount(self) -> None:
        """A closed terminal or a polite kill ends the app in order; compiles go on by themselves."""
        import asyncio

        loop = asyncio.get_running_loop()
        for name in ("SIGHUP", "SIGTERM"):
            if hasattr(signal, name):
                loop.add_signal_handler(getattr(signal, name), self.exit)
        if not self.is_headless:
            on_hangup(lambda: loop.call_soon_threadsafe(self.exit))

    async def on_unmount(self) -> None:
        """The emulator ends with the app."""
        if self._emulators is not None:
            await self._emulators.close()

    @property
    def emulators(self) -> Emulators:
        """The emulators of opened builds."""
        if self._emulators is None:
            from hyperdex_tui.backend.emulator import Emulators

            self._emulators = Emulators(self.prefix)
        return self._emulators

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: Severity = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Every message, the toolkit's own too, goes to the key bar: nothing covers what is being read."""
        below = [screen for screen in self.screen_stack if isinstance(screen, AppScreen)]
        if below:
            below[-1].say(f"{title}: {message}" if title else message, severity)

    def on_key(self, event: Key) -> None:
        """Keys typed before a prompt line has the keyboard are its text, not commands."""
        if isinstance(self.screen, AppScreen) and self.screen.type_ahead(event):
            event.stop()
            event.prevent_default()

    def on_ready(self) -> None:
        """What the start made stays: the collector, off until now, need not look at it again and again."""
        gc.freeze()
        gc.enable()
        if self._complaint:
            self.notify(self._complaint, severity="warning")
        self._return_to(self._place)

    def _return_to(self, place: Place) -> None:
        """Open the screen of the last run, if what it showed is still there."""
        if self._is_asked or not place.model_id:
            return
        folder = Workspace(self.prefix).model(place.model_id)
        if place.build not in folder.builds():
            return
        for listing in (OpenInstructions, OpenMemory):
            if listing.scope == place.screen:
                self.post_message(listing(place.model_id, place.build, filter=place.filter))
        for kind in (OpenMachine, OpenGenerate):
            if kind.scope == place.screen:
                self.post_message(kind(place.model_id, place.build))

    def exit(self, result: None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """Remember theme and place, then end."""
        places = [screen.place for screen in self.screen_stack if isinstance(screen, AppScreen)]
        if places:
            returns = {kind.scope for kind in (OpenInstructions, OpenMemory, OpenMachine, OpenGenerate)}
            opened = (place for place in reversed(places) if place.model_id and place.screen in returns)
            place = next(opened, places[0])
            self._state = self._state.with_place(self.launcher.prefix, place)
        save_state(self._state_file, self._state)  # in vain where the folder is read-only: nothing to say at the end
        super().exit(result, return_code, message)

    async def action_quit(self) -> None:
        """Quit; say what goes on without us."""
        from rich.text import Text

        running = self.launcher.running()
        compiles = "1 compile goes" if running == 1 else f"{running} compiles go"
        message = f"{compiles} on in the background; hyperdex-tui, then J, follows it again." if running else ""
        self.exit(message=Text(message) if message else None)

    def action_help_quit(self) -> None:
        """Ctrl+C, the habit of a shell: say which key ends the app."""
        self.notify("q quits; from a line of text, Esc first. A compile goes on; its x cancels it")

    def _handle_exception(self, error: Exception) -> None:
        super()._handle_exception(error)
        self._return_code = _BUG_EXIT_CODE

    def _fatal_error(self) -> None:
        """End on a bug of ours with one line: the toolkit's own report shows local variables, a token among them."""
        from rich.segment import Segments

        from hyperdex_tui.crash import crash_report

        self._exit_renderables.append(Segments(self.console.render(crash_report(self._exception))))
        self._close_messages_no_wait()

    def action_switch_theme(self) -> None:
        """The next theme, remembered."""
        self.theme = next_theme(self.theme)
        self._state = replace(self._state, theme=self.theme)
        if problem := save_state(self._state_file, self._state):
            self.notify(f"the theme will not be remembered: {problem}", severity="warning")

    def copy_to_clipboard(self, text: str) -> None:
        """Ctrl+C in an input goes the same way as every copy."""
        self._clipboard = text
        self.on_copy_text(CopyText(text, "the selection"))

    def on_copy_text(self, message: CopyText) -> None:
        """Send a text to the clipboard and say what was done."""
        self.run_worker(self._copy(message.text, message.what), group="copy")

    async def _copy(self, text: str, what: str) -> None:
        from hyperdex_tui.clipboard import copy

        done = await copy(text, self._write, os.environ)
        self.notify(f"{what}: {done.message}", severity="information" if done.sent else "warning")

    def _write(self, sequence: str) -> None:
        """To the terminal, past the screen."""
        if self._driver is not None:
            self._driver.write(sequence)
            self._driver.flush()

    def action_help(self) -> None:
        """Keys of the current screen."""
        from hyperdex_tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(getattr(self.screen, "scope", "app")))

    async def action_back(self) -> None:
        """Esc: the screen knows what one step back is."""
        if isinstance(self.screen, AppScreen):
            self.screen.action_back()
        else:
            self.on_go_back()

    def on_go_back(self) -> None:
        """Leave the current screen; the first one stays."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def on_open_jobs(self, message: OpenJobs) -> None:
        """Compiles of the prefix."""
        from hyperdex_tui.screens.jobs import JobsScreen

        self.push_screen(JobsScreen(self.prefix))

    def on_open_compile(self, message: OpenCompile) -> None:
        """Choices for a compile; takes the place of a run screen, so that Esc does not walk through old runs."""
        from compiler.cards import card_count, find_cards
        from hyperdex_tui.screens.compile import CompileScreen

        cards = card_count(find_cards(self._pci))
        spec = JobSpec(message.model_id, message.num_devices or min(max(1, cards), MAX_DEVICES))
        spec = replace(spec, target=message.target or spec.target)
        self._replace(("run",), CompileScreen(self.prefix, self.launcher, spec, cards))

    def on_open_fit(self, message: OpenFit) -> None:
        """Where a model fits."""
        from hyperdex_tui.screens.fit import FitScreen

        self.push_screen(FitScreen(self.prefix, message.model_id, message.words))

    def on_start_download(self, message: StartDownload) -> None:
        """Download and follow it."""
        try:
            job = self.launcher.download(message.model_id)
        except (HyperDexError, OSError) as error:
            self.notify(f"cannot start the download: {error}", severity="error")
            return
        self.post_message(OpenRun(job.model_id, job.job_id))

    def on_open_run(self, message: OpenRun) -> None:
        """Follow a job; takes the place of the compile screen that started it."""
        from hyperdex_tui.screens.run import RunScreen

        job = job_file(self.launcher.prefix, message.model_id, message.job_id)
        self._replace(("compile", "run"), RunScreen(self.launcher, job))

    def _replace(self, scopes: tuple[str, ...], screen: Screen[None]) -> None:
        """Push `screen`, in place of the current one when that is of one of `scopes`."""
        if getattr(self.screen, "scope", "") in scopes:
            self.switch_screen(screen)
        else:
            self.push_screen(screen)

    def on_open_instructions(self, message: OpenInstructions) -> None:
        """The program of a build; back to it when it is the screen below."""
        from hyperdex_tui.screens.instructions import InstructionsScreen

        below = self._below(InstructionsScreen, message.model_id, message.build)
        if isinstance(below, InstructionsScreen):
            self.pop_screen()
            below.focus_on(message.pc, message.region)
            return
        folder = Workspace(self.prefix).model(message.model_id).inst(message.build)
        place = (message.model_id, message.build, message.pc, message.region, message.filter)
        self.push_screen(InstructionsScreen(folder, *place, columns=self._state.columns))

    def on_columns_chosen(self, message: ColumnsChosen) -> None:
        """Remember the columns of the instruction list."""
        self._state = replace(self._state, columns=message.columns)
        if problem := save_state(self._state_file, self._state):
            self.notify(f"the columns will not be remembered: {problem}", severity="warning", markup=False)

    def on_open_memory(self, message: OpenMemory) -> None:
        """The memory map of a build; back to it when it is the screen below."""
        from hyperdex_tui.screens.memory import MemoryScreen

        below = self._below(MemoryScreen, message.model_id, message.build)
        if isinstance(below, MemoryScreen):
            self.pop_screen()
            below.focus_on(message.region)
            return
        folder = Workspace(self.prefix).model(message.model_id).param(message.build)
        self.push_screen(MemoryScreen(folder, message.model_id, message.build, message.region, message.filter))

    def on_open_machine(self, message: OpenMachine) -> None:
        """The debugger of a build; back to it when it is the screen below."""
        from hyperdex_tui.screens.machine import MachineScreen

        below = self._below(MachineScreen, message.model_id, message.build)
        if isinstance(below, MachineScreen):
            self.pop_screen()
            below.focus_on(message.pc)
            return
        emulator = self.emulators.of(message.model_id, message.build)
        folder = Workspace(self.prefix).model(message.model_id).inst(message.build)
        self.push_screen(MachineScreen(emulator, folder, message.model_id, message.build, message.pc))

    def on_open_timeline(self, message: OpenTimeline) -> None:
        """A token in time."""
        from hyperdex_tui.screens.timeline import TimelineScreen

        emulator = self.emulators.of(message.model_id, message.build)
        folder = Workspace(self.prefix).model(message.model_id).inst(message.build)
        self.push_screen(TimelineScreen(emulator, folder, message.model_id, message.build, message.position))

    def on_open_generate(self, message: OpenGenerate) -> None:
        """Generate with a build."""
        from hyperdex_tui.screens.generate import GenerateScreen

        emulator = self.emulators.of(message.model_id, message.build)
        self.push_screen(GenerateScreen(emulator, message.model_id, message.build))

    def _below(self, kind: type[Screen[None]], model_id: str, build: str) -> Screen[object] | None:
        """The screen under the current one, if it is of that kind and build."""
        if len(self.screen_stack) < 2:
            return None
        below = self.screen_stack[-2]
        same = isinstance(below, kind) and (getattr(below, "model_id", ""), getattr(below, "build", ""))
        return below if same == (model_id, build) else None
