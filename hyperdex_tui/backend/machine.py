"""The emulated machine as the app knows it: what its child said last, and what was asked of it.

Holds values only; screens read them and call the methods. One command runs at
a time: a step that is pressed while another goes on is dropped, so a held key
leaves no backlog.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from compiler.debug_records import (
    Breakpoint,
    Breakpoints,
    Counters,
    Finished,
    HbmView,
    Hello,
    LmuView,
    Progress,
    Record,
    Stopped,
    Timeline,
    Token,
    Tokens,
)
from compiler.errors import HyperDexError
from hyperdex_tui.backend.emulator import Emulator, EmulatorGone


class Machine:
    """State of one emulator.

    Attributes:
        hello: what runs, None until the child has said so.
        stopped: where it stands, None before the first prompt.
        tokens: generated since the prompt.
        breakpoints: all of them.
        progress: where a run is, None while none goes on.
        finished: the end of the text, None before.
        lmu, hbm, counters: what was looked at last, None before.
        problem: what went wrong last, "" when nothing did.
        busy: the command that is carried out, "" when none is.
        commands: how many were begun.

    Args:
        emulator: the child.
        on_change: called after every change.
    """

    def __init__(self, emulator: Emulator, on_change: Callable[[], None]) -> None:
        self.hello: Hello | None = None
        self.stopped: Stopped | None = None
        self.prompt = ""
        self.tokens: list[Token] = []
        self.breakpoints: tuple[Breakpoint, ...] = ()
        self.progress: Progress | None = None
        self.finished: Finished | None = None
        self.lmu: LmuView | None = None
        self.hbm: HbmView | None = None
        self.counters: Counters | None = None
        self.problem = ""
        self.busy = ""
        self.commands = 0
        self._emulator = emulator
        self._on_change = on_change

    async def connect(self) -> None:
        """Start the child, or find it as another screen left it."""
        try:
            self.hello = await self._emulator.start()
            for do in ("tokens", "breakpoints"):
                self._take(await self._emulator.ask(do))
            self._take(await self._emulator.ask("device", device=self.device))
        except HyperDexError as error:
            self.problem = str(error)
        self._on_change()

    @property
    def device(self) -> int:
        """The device that is shown."""
        return self.stopped.device if self.stopped is not None else 0

    @property
    def has_prompt(self) -> bool:
        """Whether there is something to run."""
        return self.stopped is not None and self.stopped.prompt_tokens > 0

    async def command(self, do: str, **arguments: object) -> bool:
        """Carry out what changes the machine; False when it did not, and `problem` says why."""
        if self.busy:
            return False
        self.busy, self.problem = do, ""
        self.commands += 1
        if do == "start":
            self.tokens, self.finished = [], None
        self._on_change()
        try:
            async with aclosing(self._emulator.stream(do, **arguments)) as records:
                async for record in records:
                    self._take(record)
                    if not isinstance(record, Stopped):
                        self._on_change()
            if do == "start":
                self._take(await self._emulator.ask("tokens"))
        except EmulatorGone as error:
            self._forget()
            self.problem = str(error)
        except HyperDexError as error:
            self.problem = str(error)
        finally:
            self.busy, self.progress = "", None
            self._on_change()
        return not self.problem

    def _forget(self) -> None:
        """The child is gone, and with it prompt and breakpoints."""
        self.stopped, self.tokens, self.finished, self.breakpoints = None, [], None, ()
        self.lmu = self.hbm = self.counters = None

    async def look(self, do: str, **arguments: object) -> bool:
        """Ask for a view of the machine as it stands; False when there is none, while it runs or as `problem` says."""
        if self.busy and do != "counters":
            return False
        try:
            self._take(await self._emulator.ask(do, **arguments))
            self.problem = ""
        except EmulatorGone as error:
            self._forget()
            self.problem = str(error)
        except HyperDexError as error:
            self.problem = str(error)
        self._on_change()
        return not self.problem

    async def ask(self, do: str, **arguments: object) -> Record:
        """Any request whose answer is not kept here.

        Raises:
            HyperDexError: it failed.
        """
        return await self._emulator.ask(do, **arguments)

    async def timeline(self, position: int, *, prompt: bool) -> Timeline:
        """One token in time.

        Raises:
            HyperDexError: the build or the child failed.
        """
        record = await self.ask("timeline", position=position, prompt=prompt)
        assert isinstance(record, Timeline)
        return record

    def interrupt(self) -> None:
        """Stop the run that goes on."""
        self._emulator.interrupt()

    def kill(self) -> None:
        """End a child that does not stop."""
        self._emulator.kill()

    def sites(self) -> dict[int, int]:
        """Instruction -> number of a breakpoint there."""
        return {pc: each.number for each in reversed(self.breakpoints) for pc in each.pcs}

    def _take(self, record: Record) -> None:
        match record:
            case Stopped():
                self.stopped = record
            case Token():
                self.tokens.append(record)
            case Tokens():
                self.prompt, self.tokens = record.prompt, list(record.tokens)
            case Breakpoints():
                self.breakpoints = record.breakpoints
            case Progress():
                self.progress = record
            case Finished():
                self.finished = record
            case LmuView():
                self.lmu = record
            case HbmView():
                self.hbm = record
            case Counters():
                self.counters = record
