"""The emulator as a debugger: program, values, tokens, breakpoints, counters of a machine in a process of its own."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from compiler.debug_records import BREAK_KINDS
from compiler.errors import HyperDexError
from compiler.quantity import counted
from hyperdex_tui.backend.emulator import STOP_S, Emulator
from hyperdex_tui.backend.machine import Machine
from hyperdex_tui.backend.program import Program, open_program
from hyperdex_tui.backend.verification import compare_with_transformers, verify_command
from hyperdex_tui.formatting import wrap
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import (
    LineEntered,
    OpenGenerate,
    OpenInstructions,
    OpenMemory,
    OpenTimeline,
    RowChosen,
    RowMoved,
)
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.machine_listing import MachineListing
from hyperdex_tui.widgets.machine_view import VIEWS, MachineView, hbm_columns, lmu_columns
from hyperdex_tui.widgets.painted import Line, Pane, line

WIDE = 140
"""Columns from which values and tokens stay in sight beside listing and chosen view."""

_HBM = re.compile(r"(?P<region>.+?)(?:\[(?P<at>[\d, ]*)\])?$")
_LMU = re.compile(r"v?\[?(\d+)\]?$")


class MachineScreen(AppScreen):
    """Status on top, listing below it, the chosen view at the bottom; wide terminals show four panes."""

    scope = "machine"
    AUTO_FOCUS = "#machine-listing"
    BINDINGS: ClassVar[list[BindingType]] = bindings("machine")

    def __init__(self, emulator: Emulator, folder: Path, model_id: str, build: str, pc: int = -1) -> None:
        super().__init__(f"{model_id} › {build} › Machine")
        self.model_id = model_id
        self.build = build
        self._folder = folder
        self._pc = pc
        self._machine = Machine(emulator, self._changed)
        self._program: Program | None = None
        self._lmu_at = 0
        self._comparing = False
        self._hbm_at = ("", 0, 0, 0)

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
        if not self.is_mounted:
            return
        machine, stopped = self._machine, self._machine.stopped
        self.query_one("#machine-state", Pane).show(self._status())
        if self._program is not None:
            progress = machine.progress
            pc = progress.pc if progress is not None else stopped.pc if stopped is not None else -1
            if not machine.has_prompt and not machine.busy:
                pc = -1
            self.query_one(MachineListing).stand(pc, machine.sites(), follow=self._pc < 0 or machine.has_prompt)
        for view in self.query(MachineView):
            if view.display and (view.parent is None or view.parent.display):
                view.show(machine)

    def _status(self) -> list[Line]:
        machine, stopped, hello = self._machine, self._machine.stopped, self._machine.hello
        width = max(20, self.size.width - 2)
        if machine.busy:
            head = line((f"▶ {_DOING.get(machine.busy, machine.busy)}", "accent"), ("  x stops it", "dim"))
        elif machine.problem:
            lines = wrap(f"✗ {machine.problem}", width, 2)
            return [line((part, "bad")) for part in lines]
        elif hello is None:
            head = line(("▶ starting the emulator and opening the build …", "accent"))
        elif stopped is None or not machine.has_prompt:
            head = line(("■ no prompt yet: ", "text"), ("n", "accent"), (" types one", "text"))
        else:
            head = self._stopped_line()
        return [head, line((self._where(), "dim"))]

    def _stopped_line(self) -> Line:
        stopped, machine = self._machine.stopped, self._machine
        assert stopped is not None
        match stopped.reason:
            case "breakpoint":
                hit = ", ".join(
                    f"{each.number} ({each})" for each in machine.breakpoints if each.number in stopped.hits
                )
                return line((f"● breakpoint {hit}", "warn"))
            case "fault":
                return line((f"✗ fault: {stopped.detail}", "bad"))
            case "halted":
                if machine.finished is None:  # it ended on the generate screen, before anybody looked here
                    return line(("✓ the text is complete; ", "good"), ("5", "accent"), (" shows its tokens", "text"))
                return line(("✓ the text is complete: ", "good"), (repr(machine.finished.text), "strong"))
            case "interrupted":
                return line((f"■ interrupted{': ' + stopped.detail if stopped.detail else ''}", "warn"))
        return line(("■ stopped", "text"))

    def _where(self) -> str:
        stopped, hello, program = self._machine.stopped, self._machine.hello, self._program
        if hello is None:
            return ""
        if stopped is None or not stopped.prompt_tokens:
            return f"{hello.instructions:,} instructions, {counted(hello.devices, 'device')}, {hello.dtype}"
        at = self._machine.progress or stopped
        node = program.node(at.pc) if program is not None and at.pc < program.count else None
        layer = f"layer {node.source.layer} " if node is not None and node.source.layer >= 0 else ""
        tokens = stopped.tokens if at is stopped else len(self._machine.tokens)
        return (
            f"pc {at.pc:,}  {layer}{node.op if node is not None else 'control'}  position {at.position} "
            f"({stopped.prompt_tokens} + {tokens})  device {stopped.device} of {hello.devices}  "
            f"{at.steps:,} executed"
        )

    # commands

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
            region, head, row, col = self._hbm_at
            if region:
                size = {"rows": min(room, 512), "cols": hbm_columns(width)}
                await machine.look("hbm", region=region, head=head, row=row, col=col, **size)
        elif shown.chosen == "counters":
            await machine.look("counters")

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

    def action_pane(self) -> None:
        """The keyboard to the other pane."""
        self.focus_next(MachineView if isinstance(self.focused, MachineListing) else MachineListing)

    def action_goto(self) -> None:
        """Type what to look at."""
        hint = "v[64] in the LMU, cache.0.key[0,3,0] or a region in HBM, 120 in the listing"
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
            self._do("start", **self._prompt(event.text))
        elif event.purpose == "break" and text:
            kind, _, value = text.partition(" ")
            kind, value = ("pc", kind) if kind.lstrip("@").isdecimal() else (kind, value)
            if kind not in BREAK_KINDS:
                self.say(f"{kind!r} is no kind of breakpoint: there are {', '.join(BREAK_KINDS)}", "warning")
                return
            self._do("break", kind=kind, value=value.strip())
        elif event.purpose == "goto" and text:
            self._goto(text)

    def _prompt(self, text: str) -> dict[str, object]:
        """The prompt as the emulator takes it: text, or ids where there is no tokenizer."""
        hello, parts = self._machine.hello, text.replace(",", " ").split()
        if hello is not None and not hello.has_tokenizer and all(part.isdecimal() for part in parts):
            return {"prompt_ids": [int(part[:12]) for part in parts]}
        return {"prompt": text}

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
            self._hbm_at = (found["region"], head, row, col)
            view.show(self._machine, "hbm")
        self.run_worker(self._look(), exclusive=True, group="look")

    def on_row_moved(self, event: RowMoved) -> None:
        """What is wrong with the files may show only when a row is looked at."""
        if self._program is not None:
            self.tell_once(self._program.note)

    def on_row_chosen(self, event: RowChosen) -> None:
        """Enter: a breakpoint in the listing, its removal in their list."""
        if isinstance(event.rows, MachineListing):
            self.action_break_here()
        elif isinstance(event.rows, MachineView) and event.rows.breakpoint:
            self._do("delete", number=event.rows.breakpoint)

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


_DOING = {"run": "running", "step": "stepping", "start": "putting the prompt in"}
