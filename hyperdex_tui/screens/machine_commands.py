"""The commands of the machine screen: steps, runs, breakpoints, prompts, and what its views look at."""

from __future__ import annotations

import re

from compiler.debug_records import BREAK_KINDS
from hyperdex_tui.backend.emulator import STOP_S, Emulator, prompt_request
from hyperdex_tui.backend.machine import Machine
from hyperdex_tui.backend.program import Program
from hyperdex_tui.messages import LineEntered, RowChosen
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.machine_listing import MachineListing
from hyperdex_tui.widgets.machine_view import VIEWS, MachineView, hbm_columns, lmu_columns

_HBM = re.compile(r"(?P<region>.+?)(?:\[(?P<at>[\d, ]*)\])?$")
_LMU = re.compile(r"v?\[?(\d+)\]?$")


class MachineCommands(AppScreen):
    """A screen around a machine; its subclass shows it."""

    def __init__(self, emulator: Emulator, trail: str) -> None:
        super().__init__(trail)
        self._machine = Machine(emulator, self._changed)
        self._program: Program | None = None
        self._lmu_at = 0
        self._hbm_at = ("", 0, 0, 0)

    def _changed(self) -> None:
        """The machine said something."""
        raise NotImplementedError

    def _do(self, do: str, **arguments: object) -> None:
        """Carry out a command beside the keyboard; one at a time."""
        if self._machine.busy:
            if do not in ("step", "run"):
                self.say("the machine is running: x stops it", "warning")
            return
        if do in ("step", "run") and not self._machine.has_prompt:
            self.say("no prompt yet: n types one", "warning")
            return
        self.run_worker(self._carry_out(do, arguments), group="command")

    async def _carry_out(self, do: str, arguments: dict[str, object]) -> None:
        if await self._machine.command(do, **arguments):
            await self._look()

    async def _look(self) -> None:
        """Renew the views in sight that the machine must be asked for."""
        machine, shown = self._machine, self.query_one("#machine-view", MachineView)
        room = max(1, shown.size.height - 2)
        width = max(20, shown.size.width - 2)
        if shown.chosen == "lmu":
            await machine.look("lmu", begin=self._lmu_at, count=min(4096, room * lmu_columns(width)))
        elif shown.chosen == "hbm":
            if self._hbm_at[0]:
                await self._look_hbm(self._hbm_at)
        elif shown.chosen == "counters":
            await machine.look("counters")

    async def _look_hbm(self, at: tuple[str, int, int, int]) -> bool:
        """Look at region, head, row and column; whether there is such a place."""
        shown = self.query_one("#machine-view", MachineView)
        rows, cols = min(max(1, shown.size.height - 2), 512), hbm_columns(max(20, shown.size.width - 2))
        region, head, row, col = at
        return await self._machine.look("hbm", region=region, head=head, row=row, col=col, rows=rows, cols=cols)

    async def _go_to_hbm(self, at: tuple[str, int, int, int]) -> None:
        """Show a place that was typed; where there is none, the view stays at the one before."""
        if not self._hbm_at[0]:
            self._take_region()
            await self._look()
        if await self._look_hbm(at):
            self._hbm_at = at

    def action_step(self) -> None:
        """One instruction."""
        self._do("step", granularity="instruction")

    def action_step_op(self) -> None:
        """To behind the op."""
        self._do("step", granularity="op")

    def action_step_layer(self) -> None:
        """To the next layer."""
        self._do("step", granularity="layer")

    def action_step_token(self) -> None:
        """To the next token."""
        self._do("step", granularity="token")

    def action_run(self) -> None:
        """To a breakpoint or the end."""
        self._do("run")

    def action_stop(self) -> None:
        """Stop a run; a child that does not listen is killed."""
        machine = self._machine
        if not machine.busy:
            self.say("nothing is running")
            return
        machine.interrupt()
        command = machine.commands

        def insist() -> None:
            if machine.commands == command and machine.busy in ("run", "step"):
                machine.kill()

        self.set_timer(STOP_S, insist)

    def action_new(self) -> None:
        """Type a prompt."""
        self.open_prompt("prompt", "prompt ", self._machine.prompt, "text to continue; Enter puts it into the machine")

    def action_break_here(self) -> None:
        """Set or remove a breakpoint at the cursor of the listing."""
        pc = self.query_one(MachineListing).cursor
        number = next((each.number for each in self._machine.breakpoints if (each.kind, each.pcs) == ("pc", (pc,))), 0)
        if number:
            self._do("delete", number=number)
        else:
            self._do("break", kind="pc", value=str(pc))

    def action_break_on(self) -> None:
        """Type what to stop at."""
        self.open_prompt("break", "break ", "", "opcode mm, layer 3, tensor q_proj, pc 120, nan, inf")

    def action_delete(self) -> None:
        """Remove the breakpoint under the cursor of their list, else all."""
        number = next((view.breakpoint for view in self.query(MachineView) if view.breakpoint), 0)
        if self._machine.breakpoints:
            self._do("delete", number=number)

    def action_device(self) -> None:
        """Show the next device."""
        devices = self._machine.hello.devices if self._machine.hello is not None else 1
        if devices == 1:
            self.say("this build has one device")
            return
        self._do("device", device=(self._machine.device + 1) % devices)

    def action_view(self, number: int) -> None:
        """Choose what the lower pane shows."""
        view = self.query_one("#machine-view", MachineView)
        view.show(self._machine, VIEWS[number - 1])
        if view.chosen == "hbm" and not self._hbm_at[0]:
            self._take_region()
        self.run_worker(self._look(), exclusive=True, group="look")

    def action_page(self, step: int) -> None:
        """The next or previous page of the memory in sight; from the last row of a head to the next head."""
        view, machine = self.query_one("#machine-view", MachineView), self._machine
        rows, width = max(1, view.size.height - 2), max(20, view.size.width - 2)
        if view.chosen == "lmu" and machine.hello is not None:
            page = rows * lmu_columns(width)
            at = self._lmu_at + step * page
            self._lmu_at = at if 0 <= at < machine.hello.lmu_elements else max(0, min(self._lmu_at, at))
        elif view.chosen == "hbm" and machine.hbm is not None:
            name, head, row, col = self._hbm_at
            count, _, heads = machine.hbm.limits
            line = min(max(0, head * count + row + step * rows), heads * count - 1)
            self._hbm_at = (name, *divmod(line, count), col)
        else:
            self.say("3 shows the LMU, 4 the HBM: these have pages")
            return
        self.run_worker(self._look(), exclusive=True, group="look")

    def action_pane(self) -> None:
        """The keyboard to the other pane."""
        self.focus_next(MachineView if isinstance(self.focused, MachineListing) else MachineListing)

    def action_goto(self) -> None:
        """Type what to look at."""
        hint = "v[64] of the LMU, cache.0.key[0,3,0] of HBM, 120 of the listing"
        self.open_prompt("goto", "go to ", "", hint)

    def _take_region(self) -> None:
        """Look at the region of the instruction under the cursor, or of the next one that has one."""
        if self._program is None:
            return
        here = self.query_one(MachineListing).cursor
        for pc in range(here, min(here + 200, self._program.count)):
            if region := self._program.region(pc):
                self._hbm_at = (region, 0, 0, 0)
                return

    def on_line_entered(self, event: LineEntered) -> None:
        """A prompt, a breakpoint, or a place to look at."""
        self.close_prompt()
        text = event.text.strip()
        if event.purpose == "prompt" and event.text:
            self._do("start", **prompt_request(self._machine.hello, event.text))
        elif event.purpose == "break" and text:
            kind, _, value = text.partition(" ")
            kind, value = ("pc", kind) if kind.lstrip("@").isdecimal() else (kind, value)
            if kind not in BREAK_KINDS:
                self.say(f"{kind!r} is no kind of breakpoint: there are {', '.join(BREAK_KINDS)}", "warning")
                return
            self._do("break", kind=kind, value=value.strip())
        elif event.purpose == "goto" and text:
            self._goto(text)

    def _goto(self, text: str) -> None:
        if text.lstrip("@").isdecimal():
            self.query_one(MachineListing).move_to(int(text.lstrip("@")[:12]))
            return
        view = self.query_one("#machine-view", MachineView)
        if found := _LMU.match(text):
            self._lmu_at = int(found[1][:12])
            view.show(self._machine, "lmu")
        elif found := _HBM.match(text):
            at = [int(part[:12]) for part in (found["at"] or "").replace(" ", "").split(",") if part]
            head, row, col = [0] * (3 - len(at)) + at[:3]
            if self._machine.busy:
                self.say("the machine is running: x stops it", "warning")
                return
            view.show(self._machine, "hbm")
            self.run_worker(self._go_to_hbm((found["region"], head, row, col)), exclusive=True, group="look")
            return
        self.run_worker(self._look(), exclusive=True, group="look")

    def on_row_chosen(self, event: RowChosen) -> None:
        """Enter: a breakpoint in the listing, its removal in their list."""
        if isinstance(event.rows, MachineListing):
            self.action_break_here()
        elif isinstance(event.rows, MachineView) and event.rows.breakpoint:
            self._do("delete", number=event.rows.breakpoint)
