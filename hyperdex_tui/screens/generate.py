"""Type a prompt, watch the emulated machine continue it, token by token."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import Input, Label
from textual.worker import Worker

from compiler.debug_records import Finished, Stopped, Token
from compiler.errors import HyperDexError
from hyperdex_tui.backend.emulator import STOP_S, Emulator, prompt_request
from hyperdex_tui.formatting import seconds_text, wrap
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import OpenMachine
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.painted import Pane, line
from hyperdex_tui.widgets.sampling_fields import SamplingFields, plain_input
from hyperdex_tui.widgets.token_list import TokenList
from hyperdex_tui.widgets.transcript import Transcript

_REPAINT_S = 0.1
_TICK_S = 0.5


class GenerateScreen(AppScreen):
    """Prompt and sampling on top, below it transcript, tokens with their rivals, and timing."""

    scope = "generate"
    AUTO_FOCUS = "#prompt"
    BINDINGS: ClassVar[list[BindingType]] = bindings("generate")

    def __init__(self, emulator: Emulator, model_id: str, build: str) -> None:
        super().__init__(f"{model_id} › {build} › Generate")
        self.model_id = model_id
        self.build = build
        self._emulator = emulator
        self._worker: Worker[None] | None = None
        self._painted_at = 0.0

    def compose_body(self) -> ComposeResult:
        """Fields, transcript, tokens, timing."""
        with Horizontal(id="generate-fields"):
            yield Label("prompt", markup=False)
            yield plain_input("", "prompt", "text to continue, Enter runs it")
            yield Label("tokens", markup=False)
            yield plain_input("32", "count", "")
        yield SamplingFields(id="sampling-fields")
        yield Transcript()
        yield TokenList()
        yield Pane(id="generate-state", classes="detail")

    def on_mount(self) -> None:
        """Load the build while the user types."""
        self._state("Runs the build on the emulator, in a process of its own, which is being started.")
        self.run_worker(self._load(), group="load")

    async def _load(self) -> None:
        try:
            hello = await self._emulator.start()
        except HyperDexError as error:
            self._state(f"✗ {error}", "bad")
            return
        if self.idle:
            self._state("Ready: the build is open in a process of its own; the first prompt starts at once.")
        if not hello.has_tokenizer:
            self.say("the model has no tokenizer: type token ids like 1,2,3", "warning")

    def _state(self, text: str, role: str = "dim", second: str = "") -> None:
        lines = [line((part, role)) for part in wrap(text, max(20, self.size.width - 2), 2)]
        self.query_one("#generate-state", Pane).show([*lines, line((second, "dim"))] if second else lines)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in either field."""
        self.action_generate()

    def action_generate(self) -> None:
        """Run the prompt, unless one runs."""
        if not self.idle:
            self.say("a run is going on: Esc stops it", "warning")
            return
        prompt = self.query_one("#prompt", Input).value
        count = self.query_one("#count", Input).value.strip()
        if not prompt:
            self.say("type a prompt first", "warning")
            return
        if not count.isdecimal() or len(count) > 7 or not 1 <= int(count) <= 1_000_000:
            self.say(f"tokens: {count!r} is not a number from 1 to 1,000,000", "error")
            return
        try:
            chosen = self.query_one(SamplingFields).request()
        except ValueError as error:
            self.say(str(error), "error")
            return
        request = {**prompt_request(self._emulator.hello, prompt), "max_new_tokens": int(count), **chosen}
        self._worker = self.run_worker(self._run(prompt, request), exclusive=True, group="generate")

    @property
    def idle(self) -> bool:
        """Whether no run is going on."""
        return self._worker is None or not self._worker.is_running

    async def _run(self, prompt: str, request: dict[str, object]) -> None:
        transcript = self.query_one(Transcript)
        transcript.begin(prompt)
        self.query_one(TokenList).begin()
        began = time.monotonic()
        waiting = self.set_interval(_TICK_S, lambda: self._waiting(began))
        self._waiting(began)
        try:
            await self._emulator.ask("start", **request)
            await self._stream(began, waiting)
        except HyperDexError as error:
            transcript.finish(None)
            self._state(f"✗ {error}", "bad")
        finally:
            waiting.stop()
            if self.is_there:
                self.query_one(TokenList).catch_up()

    async def _stream(self, began: float, waiting: Timer) -> None:
        """Show tokens as they come."""
        transcript, tokens = self.query_one(Transcript), self.query_one(TokenList)
        first, number, finished = 0.0, 0, False
        async with aclosing(self._emulator.stream("run", breakpoints=False)) as records:
            async for record in records:
                now = time.monotonic()
                if isinstance(record, Token):
                    waiting.stop()
                    number += 1
                    first = first or now
                    tokens.add(record)
                    transcript.add(record.text or ("" if self._has_text else f" {record.token_id}"))
                    if now - self._painted_at >= _REPAINT_S:
                        self._painted_at = now
                        tokens.catch_up()
                        self._timing("▶ generating", began, first, now, number)
                elif isinstance(record, Finished):
                    finished = True
                    transcript.finish(record.text if self._has_text else None)
                    self._timing("✓ done", began, first, now, record.token_count, _device_time(record))
                elif isinstance(record, Stopped) and not finished:
                    transcript.finish(None)
                    failed = record.reason == "fault"
                    said = f"✗ {record.detail}" if failed else "■ stopped; Ctrl+O looks at the machine"
                    self._state(said, "bad" if failed else "warn")

    @property
    def _has_text(self) -> bool:
        hello = self._emulator.hello
        return hello is None or hello.has_tokenizer

    def _waiting(self, began: float) -> None:
        elapsed = seconds_text(time.monotonic() - began)
        what = "reading the prompt" if self._emulator.hello is not None else "loading the build and the tokenizer"
        self._state(f"▶ {what}, {elapsed}", "accent")

    def _timing(self, head: str, began: float, first: float, now: float, count: int, device: str = "") -> None:
        rate = ""
        if count > 1 and now > first:
            milliseconds = 1000 * (now - first) / (count - 1)
            rate = f", {milliseconds:.1f} ms/token"
        tokens = "1 token" if count == 1 else f"{count:,} tokens"
        self._state(
            f"{head}: {tokens}{rate}, first after {seconds_text(max(0.0, first - began))}",
            "good" if head.startswith("✓") else "accent",
            device or "Measured on this host: the emulator's speed, not the device's.",
        )

    def action_machine(self) -> None:
        """The machine as the run left it."""
        self.post_message(OpenMachine(self.model_id, self.build))

    def step_back(self) -> bool:
        """Stop the run first; a child that does not listen is killed."""
        if self.idle:
            return False
        self._emulator.interrupt()
        self._state("■ stopping …", "warn")
        worker = self._worker
        self.set_timer(STOP_S, lambda: self._emulator.kill() if not self.idle and self._worker is worker else None)
        return True

    def on_unmount(self) -> None:
        """Nobody looks any more: stop the run, keep the build open."""
        if not self.idle:
            self._emulator.interrupt()


def _device_time(record: Finished) -> str:
    """What the devices would take, "" when the child did not say."""
    if not record.device_ms:
        return ""
    times = f"{record.device_ms:.3g} ms/token, first after {record.device_ttft_ms:.3g} ms"
    return f"measured here; the devices: {times} (emulated)"
