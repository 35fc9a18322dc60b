"""Type a prompt, watch the emulated machine continue it."""

from __future__ import annotations

import time
from contextlib import aclosing
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Label
from textual.worker import Worker

from compiler.errors import HyperDexError
from hyperdex_tui.backend.generation import Finished, Generation, generate_command
from hyperdex_tui.formatting import seconds_text, wrap
from hyperdex_tui.keys import bindings
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.painted import Pane, line
from hyperdex_tui.widgets.transcript import Transcript

_REPAINT_S = 0.1
_TICK_S = 0.5


class GenerateScreen(AppScreen):
    """Prompt and number of tokens on top, transcript below, timing at the bottom."""

    scope = "generate"
    AUTO_FOCUS = "#prompt"
    BINDINGS: ClassVar[list[BindingType]] = bindings("generate")

    def __init__(self, prefix: Path, model_id: str, build: str) -> None:
        super().__init__(f"{model_id} › {build} › Generate")
        self.model_id = model_id
        self.build = build
        self._prefix = prefix
        self._worker: Worker[None] | None = None
        self._painted_at = 0.0

    def compose_body(self) -> ComposeResult:
        """Fields, transcript, timing."""
        with Horizontal(id="generate-fields"):
            yield Label("prompt", markup=False)
            yield _input("", "prompt", "text to continue, Enter runs it")
            yield Label("tokens", markup=False)
            yield _input("32", "count", "")
        yield Transcript()
        yield Pane(id="generate-state", classes="detail")

    def on_mount(self) -> None:
        """Say what will happen."""
        self._state("Runs the build on the emulator, in a process of its own.")

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
        if not count.isdecimal() or not 1 <= int(count) <= 1_000_000:
            self.say(f"tokens: {count!r} is not a number from 1 to 1,000,000", "error")
            return
        self._worker = self.run_worker(self._run(prompt, int(count)), exclusive=True, group="generate")

    @property
    def idle(self) -> bool:
        """Whether no run is going on."""
        return self._worker is None or not self._worker.is_running

    async def _run(self, prompt: str, count: int) -> None:
        transcript = self.query_one(Transcript)
        transcript.begin(prompt)
        generation = Generation(generate_command(self._prefix, self.model_id, self.build, prompt, count))
        began, first, number = time.monotonic(), 0.0, 0
        waiting = self.set_interval(_TICK_S, lambda: self._waiting(began))
        self._waiting(began)
        try:
            async with aclosing(generation.tokens()) as records:
                async for record in records:
                    now = time.monotonic()
                    waiting.stop()
                    if isinstance(record, Finished):
                        transcript.finish(record.text)
                        self._timing("✓ done", began, first, now, record.token_count, _device_time(record))
                        continue
                    number += 1
                    first = first or now
                    transcript.add(record.text)
                    if now - self._painted_at >= _REPAINT_S:
                        self._painted_at = now
                        self._timing("▶ generating", began, first, now, number)
        except HyperDexError as error:
            transcript.finish(None)
            self._state(f"✗ {error}", "bad")
        finally:
            waiting.stop()

    def _waiting(self, began: float) -> None:
        elapsed = seconds_text(time.monotonic() - began)
        self._state(f"▶ loading the build and the tokenizer, {elapsed}", "accent")

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

    def step_back(self) -> bool:
        """Stop the run first."""
        if self.idle:
            return False
        assert self._worker is not None
        self._worker.cancel()
        self.query_one(Transcript).finish(None)
        self._state("■ stopped", "warn")
        return True


def _input(value: str, id: str, placeholder: str) -> Input:
    entry = Input(value, id=id, placeholder=placeholder, compact=True, select_on_focus=False)
    entry.cursor_blink = False
    return entry


def _device_time(record: Finished) -> str:
    """What the devices would take, "" when the child did not say."""
    if not record.device_ms:
        return ""
    times = f"{record.device_ms:.3g} ms/token, first after {record.device_ttft_ms:.3g} ms"
    return f"measured here; the devices: {times} (emulated)"
