"""A debugging session: one build, its debugger, its tokenizer and its clock, behind one method per request.

The line interface and the JSON lines of `hyperdex debug` both talk to it.
Arguments come from people or from another process: each is checked here.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.cli.continuation import Continuation
from compiler.cli.sampling import DEFAULT_NEW_TOKENS
from compiler.debug_records import (
    Breakpoints,
    Candidate,
    Counters,
    Done,
    Finished,
    HbmView,
    Hello,
    LmuView,
    Progress,
    Stopped,
    Timeline,
    Token,
    Tokens,
)
from compiler.emulator.debugger import Debugger, Reason
from compiler.emulator.session import SamplingParameters, check_sampling
from compiler.emulator.views import hbm_view, lmu_view
from compiler.errors import UsageError

if TYPE_CHECKING:
    from compiler.artifacts.reader import Build
    from compiler.cli.tokenizer import Tokenizer
    from compiler.emulator.timing import Clock
    from compiler.workspace import ModelFolder

PROGRESS_S = 0.1
"""Least time between two progress records."""


class DebugSession:
    """One machine and what people ask of it.

    Args:
        folder: of the model.
        build: name of the build.
        on_token, on_progress: told while the machine runs.

    Raises:
        ArtifactError: the build is damaged.
    """

    def __init__(
        self,
        folder: ModelFolder,
        build: str,
        on_token: Callable[[Token], None] = lambda _token: None,
        on_progress: Callable[[Progress], None] = lambda _progress: None,
    ) -> None:
        from compiler.artifacts.reader import open_build
        from compiler.emulator.machine import Machine

        self.build: Build = open_build(folder.param(build), folder.inst(build))
        self.debugger = Debugger(Machine(self.build), self._token, self._progress)
        self.text: Continuation | None = None
        self.prompt_ids: tuple[int, ...] = ()
        self._prompt = ""
        self._said: list[Token] = []
        self._folder = folder
        self._name = build
        self._on_token = on_token
        self._on_progress = on_progress
        self._told_at = 0.0
        self._ran_s = 0.0
        self._fed = 0

    def hello(self) -> Hello:
        """What runs here."""
        from compiler.cli.tokenizer import has_tokenizer

        manifest = self.build.manifest
        return Hello(
            model_id=self._folder.model_id,
            build=self._name,
            instructions=len(self.build.program_words),
            devices=manifest.num_devices,
            dtype=manifest.dtype.name,
            lmu_elements=manifest.lmu_elements,
            max_length=manifest.max_length,
            vocabulary=manifest.vocab_size,
            has_tokenizer=has_tokenizer(self._folder.ckpt),
        )

    def prepare(self) -> None:
        """Do now what the first prompt would wait for: plans, and the tokenizer if there is one."""
        self.debugger.machine.prepare()
        if self.hello().has_tokenizer:
            _ = self._tokenizer

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from compiler.cli.tokenizer import Tokenizer

        return Tokenizer(self._folder.ckpt)

    @cached_property
    def clock(self) -> Clock:
        """The clock of the build."""
        from compiler.cli.timing import clock_for

        return clock_for(self.build.manifest, self.debugger.machine.program)

    # what a request does

    def start(
        self,
        prompt: str | Sequence[int],
        max_new_tokens: int = 0,
        parameters: SamplingParameters | None = None,
        stop: Sequence[str] = (),
    ) -> Stopped:
        """Reset the machine with a prompt.

        Args:
            prompt: text, or token ids.
            max_new_tokens: 0 for DEFAULT_NEW_TOKENS, or what the build has room for.
            parameters: how tokens are chosen; None: greedily.
            stop: texts that end the generation.

        Raises:
            UsageError: something is out of range, or there is no tokenizer for a text.
            CheckpointError: the tokenizer cannot be read.
        """
        chosen = parameters or SamplingParameters()
        check_sampling(chosen)
        if isinstance(prompt, str) or stop:
            decode: Callable[[Sequence[int]], str] | None = self._tokenizer.decode
        else:
            decode = self._tokenizer.decode if self._can_decode() else None
        ids = self._tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
        room = self.build.manifest.max_length - len(ids)
        count = max_new_tokens or max(1, min(DEFAULT_NEW_TOKENS, room))
        stopped = self.debugger.start(ids, count, chosen)
        self.prompt_ids = tuple(ids)
        self._prompt = prompt if isinstance(prompt, str) else decode(ids) if decode is not None else ""
        self._said = []
        self.text = Continuation(decode or (lambda _ids: ""), stop)
        self._ran_s, self._fed = 0.0, 0
        return stopped

    def _can_decode(self) -> bool:
        """Whether token ids become text here; a tokenizer that is damaged is none."""
        from compiler.errors import CheckpointError

        try:
            return self.hello().has_tokenizer and bool(self._tokenizer)
        except CheckpointError:
            return False

    def step(self, granularity: str = "instruction", count: int = 1) -> Stopped:
        """Step; see `Debugger.step`."""
        return self._timed(lambda: self.debugger.step(granularity, count))

    def run(self, *, breakpoints: bool = True) -> Stopped:
        """Run to a breakpoint or to the end of the text; see `Debugger.run`."""
        stopped = self._timed(lambda: self.debugger.run(breakpoints=breakpoints))
        if stopped.reason == Reason.INTERRUPTED.value and self.text is not None and self.text.stopped:
            return replace(stopped, detail="a stop text was met")
        return stopped

    def _timed(self, action: Callable[[], Stopped]) -> Stopped:
        began, fed = time.perf_counter(), self.debugger.position
        try:
            return action()
        finally:
            self._ran_s += time.perf_counter() - began
            self._fed += max(0, self.debugger.position - fed)

    def finished(self) -> Finished | None:
        """The end of the generation; None while there is more to come."""
        machine, text = self.debugger.machine, self.text
        if text is None or not text.token_ids or not (machine.halted or text.stopped):
            return None
        from compiler.emulator.report import time_generation

        times = time_generation(self.clock, len(self.prompt_ids), len(text.token_ids))
        reason = "stop" if text.stopped else self.debugger.finish_reason
        return Finished(len(text.token_ids), text.shown, reason, times.ms_per_token, times.ttft_ms)

    def tokens(self) -> Tokens:
        """The prompt and what followed it."""
        return Tokens(self._prompt, self.prompt_ids, tuple(self._said))

    def add_breakpoint(self, kind: str, value: str = "") -> Breakpoints:
        """Set one; all of them are the answer."""
        self.debugger.add_breakpoint(kind, value)
        return self.breakpoints()

    def remove_breakpoint(self, number: int) -> Breakpoints:
        """Remove one; 0 removes all."""
        for each in [number] if number else [each.number for each in self.debugger.breakpoints]:
            self.debugger.remove_breakpoint(each)
        return self.breakpoints()

    def breakpoints(self) -> Breakpoints:
        """All of them."""
        return Breakpoints(self.debugger.breakpoints)

    def look_from(self, device: int) -> Stopped:
        """Show another device from now on.

        Raises:
            UsageError: there is no such device.
        """
        devices = self.build.manifest.num_devices
        if not 0 <= device < devices:
            raise UsageError(f"device {device} is none of 0 to {devices - 1}")
        self.debugger.device = device
        return self.debugger.describe(Reason.HALTED if self.debugger.machine.halted else Reason.READY)

    def lmu(self, begin: int, count: int = 64) -> LmuView:
        """LMU elements of the chosen device."""
        return lmu_view(self.debugger.machine, self.debugger.before, self.debugger.device, begin, count)

    def hbm(self, region: str, head: int = 0, row: int = 0, col: int = 0, rows: int = 8, cols: int = 8) -> HbmView:
        """A rectangle of a region of the chosen device."""
        at, debugger = (head, row, col), self.debugger
        return hbm_view(debugger.machine, debugger.before, debugger.device, region, at, rows, cols)

    def _check_position(self, position: int) -> None:
        limit = self.build.manifest.max_length
        if not 0 <= position < limit:
            raise UsageError(f"position {position} is none of 0 to {limit - 1}")

    def counters(self, position: int = -1) -> Counters:
        """What the token at a position costs the devices; -1: the one that is fed now."""
        from compiler.emulator.report import what_binds

        position = self.debugger.position if position < 0 else position
        self._check_position(position)
        token, target = self.clock.token(position), self.clock.rules.target
        seconds = token.cycles / target.clock_hz
        return Counters(
            position=position,
            cycles=token.cycles,
            ms_per_token=1e3 * seconds,
            tokens_per_s=1 / seconds,
            joules_per_token=target.watts * self.clock.rules.num_devices * seconds,
            stream_bytes=token.stream_bytes,
            bandwidth=token.stream_bytes / (target.hbm_bytes_per_s * seconds),
            binds=what_binds(token),
            busy=tuple((unit.value, cycles / token.cycles) for unit, cycles in token.busy.items()),
            stalls=tuple((unit.value, why, cycles / token.cycles) for (unit, why), cycles in token.stalls.items()),
            host_ms=1e3 * self._ran_s / self._fed if self._fed else 0.0,
        )

    def timeline(self, position: int, *, prompt: bool = False) -> Timeline:
        """One token in time; `prompt` when its logits are not needed."""
        from compiler.emulator.timing import REASONS
        from compiler.isa.spec import Unit

        self._check_position(position)
        token = self.clock.token(position, prompt=prompt, slices=True)
        units, reasons = tuple(Unit), ("", *REASONS)
        program = self.debugger.machine.program
        indices = {unit: index for index, unit in enumerate(units)}
        return Timeline(
            position=position,
            prompt=prompt,
            cycles=token.cycles,
            clock_hz=self.clock.rules.target.clock_hz,
            unit_names=tuple(unit.value for unit in units),
            reason_names=reasons,
            pcs=_packed("<i4", [each.pc for each in token.slices]),
            units=_packed("u1", [indices[program[each.pc].spec.unit] for each in token.slices]),
            starts=_packed("<f8", [each.start for each in token.slices]),
            ends=_packed("<f8", [each.end for each in token.slices]),
            waits=_packed("<f8", [each.waited for each in token.slices]),
            reasons=_packed("u1", [reasons.index(each.reason) for each in token.slices]),
        )

    def save_trace(self, path: str, position: int) -> Done:
        """Write the trace of the token at a position for Perfetto.

        Raises:
            UsageError: the file cannot be written.
        """
        from compiler.cli.timing import save_trace

        self._check_position(position)
        if not path.strip():
            raise UsageError("the name of the trace is empty", "name a file")
        if "\0" in path:
            raise UsageError(f"{path[:200]!r} names no file: it holds a null byte")
        try:
            file = Path(path).expanduser()
            has_folder = file.parent.is_dir()
        except (OSError, RuntimeError, ValueError) as error:  # no such home folder, a name too long, a null byte
            raise UsageError(f"{path[:200]!r} names no file: {error}") from None
        if not has_folder:
            raise UsageError(f"there is no folder {file.parent}", "make it first")
        save_trace(self.debugger.machine, file, position)
        return Done(f"{file.absolute()} holds the trace of the token at position {position}; ui.perfetto.dev opens it")

    # what the machine tells

    def _token(self, token: Token) -> None:
        text = self.text
        over = text is None or text.stopped
        if text is None or over:
            return
        piece = text.push(token.token_id)
        if text.stopped:
            self.debugger.interrupt()
        elif token.token_id in self.debugger.machine.host.stop_tokens() or self._is_last(token):
            piece += text.finish()
        decode = text.decode
        candidates = tuple(
            Candidate(each.token_id, each.probability, decode([each.token_id])) for each in token.candidates
        )
        self._said.append(replace(token, text=piece, candidates=candidates))
        self._on_token(self._said[-1])

    def _is_last(self, token: Token) -> bool:
        from compiler.isa.host import Word

        return token.position == self.debugger.machine.host.word(Word.LAST_OUTPUT) + 1

    def _progress(self) -> None:
        now = time.monotonic()
        if now - self._told_at < PROGRESS_S:
            return
        self._told_at = now
        machine = self.debugger.machine
        self._on_progress(Progress(machine.pc, machine.steps, self.debugger.position))


def _packed(dtype: str, values: Sequence[float]) -> str:
    """Numbers as base64 of little-endian values."""
    import numpy as np

    return base64.b64encode(np.asarray(values, dtype=dtype).tobytes()).decode("ascii")
