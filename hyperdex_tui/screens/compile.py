"""Choose devices, target, dtype, length and passes; see what fits; start the compile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.cards import LPU_VENDOR
from compiler.errors import HyperDexError
from compiler.memory_map import MAX_DEVICES
from compiler.quantity import bytes_text, change_text, counted
from compiler.target import TARGET_NAMES, load_target
from compiler.target.topology import TOPOLOGIES
from hyperdex_tui.backend.fit import DEVICE_COUNTS, FitPlan, FitRow, add_estimates, plan_fit
from hyperdex_tui.backend.jobs import JobSpec, Launcher
from hyperdex_tui.formatting import wrap
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import OpenRun
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.fit_table import FitTable
from hyperdex_tui.widgets.form import Field, Form
from hyperdex_tui.widgets.painted import Line, Pane, Span, line
from hyperdex_tui.widgets.share_bar import ShareBar

_SETTLE_S = 0.15
_BAR_ROWS, _TABLE_ROWS = 24, 22
"""Rows of a terminal from which the memory bar and the table are there."""

_FRAME_ROWS = 5
"""Rows of title, keys, and a summary of two lines with its border."""

_LENGTHS = (0, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)


def _target_hint(name: object) -> str:
    target = load_target(str(name))
    return f"{bytes_text(target.hbm_bytes)}, {target.hbm_bytes_per_s / 1e9:,.0f} GB/s, {target.title}"


_DTYPE_HINTS = {
    "float16": "what the hardware computes in",
    "bfloat16": "emulator only: wider range, coarser",
    "float32": "emulator only: gives exactly transformers' tokens",
}


def _device_hint(cards: int) -> str:
    found = f"; {counted(cards, 'card')} here ({LPU_VENDOR:04x})" if cards else ""
    return f"← → or type 1-{MAX_DEVICES}{found}"


def _fields(spec: JobSpec, cards: int) -> tuple[Field, ...]:
    return (
        Field(
            "num_devices",
            "Devices",
            tuple(range(1, MAX_DEVICES + 1)),
            spec.num_devices,
            MAX_DEVICES,
            lambda n: _device_hint(cards),
        ),
        Field("target", "Target", TARGET_NAMES, spec.target, hint=_target_hint),
        Field("dtype", "Data type", tuple(_DTYPE_HINTS), spec.dtype, hint=lambda name: _DTYPE_HINTS[name]),
        Field(
            "max_length",
            "Max length",
            _LENGTHS,
            spec.max_length,
            1 << 24,
            hint=lambda n: "more tokens cost KV memory" if n else "the model's own limit",
            shown=lambda n: f"{n:,} tokens" if n else "automatic",
        ),
        Field(
            "topology",
            "Wiring",
            ("", *TOPOLOGIES),
            spec.topology,
            hint=lambda name: "the target's own" if not name else "how the devices are linked",
            shown=lambda name: name or "automatic",
        ),
        Field("fusion", "Kernel fusion", (False, True), spec.fusion, hint=lambda on: "bias, activation, rotary, norm"),
        Field("reorder", "Layer reorder", (False, True), spec.reorder, hint=lambda on: "V first; units overlap"),
        Field(
            "chunks",
            "Chunked sends",
            (False, True),
            spec.chunks,
            hint=lambda on: "send a part, compute the next meanwhile",
        ),
        Field(
            "force",
            "Repeat all",
            (False, True),
            spec.force,
            hint=lambda on: "every phase again" if on else "phases that are up to date are skipped",
        ),
    )


class CompileScreen(AppScreen):
    """The form, the fit table, the memory of a device, and the build they make.

    Args:
        prefix: folder of all models.
        launcher: starts the compile.
        spec: what the form begins with.
        cards: LPU cards found on this machine.
    """

    scope = "compile"
    AUTO_FOCUS = "Form"
    BINDINGS: ClassVar[list[BindingType]] = bindings("compile")

    def __init__(self, prefix: Path, launcher: Launcher, spec: JobSpec, cards: int = 0) -> None:
        super().__init__(f"Compile › {spec.model_id}")
        self._prefix = prefix
        self._launcher = launcher
        self._spec = spec
        self._form = Form(_fields(spec, cards))
        self._known: tuple[JobSpec, FitRow] | None = None
        self._before: FitRow | None = None

    def compose_body(self) -> ComposeResult:
        """Form, table, summary."""
        yield self._form
        yield FitTable()
        yield ShareBar()
        yield Pane(id="compile-summary", classes="detail")

    def on_resize(self) -> None:
        """What has no room goes: the bar first, then the table, then the blank lines."""
        rows = self.size.height
        self.query_one(ShareBar).display = rows >= _BAR_ROWS
        self.query_one(FitTable).display = rows >= _TABLE_ROWS
        self._form.styles.height = max(1, min(len(self._form.values), rows - _FRAME_ROWS))
        self._form.styles.margin = (1 if rows >= _TABLE_ROWS else 0, 1, 0, 1)

    def on_mount(self) -> None:
        """Plan with the first values."""
        self.on_form_changed()

    @property
    def spec(self) -> JobSpec:
        """What the form says."""
        return JobSpec(self._spec.model_id, **self._form.values)

    def on_form_changed(self) -> None:
        """Say what the choice means, and plan in a thread."""
        spec = self.spec
        self._summarise(spec, None)
        self.run_worker(self._plan(spec), exclusive=True, group="plan")

    def _summarise(self, spec: JobSpec, plan: FitPlan | None) -> None:
        """Which build it makes, and whether that can work."""
        if spec.num_devices < 1:
            summary = [line(("✗ at least one device", "bad"))]
        else:
            summary = [line("makes build ", (spec.build, "accent"), ("  in ", "dim"), (str(self._prefix), "dim"))]
        chosen = [row for row in plan.rows if row.num_devices == spec.num_devices] if plan is not None else []
        self.query_one(ShareBar).show_row(chosen[0] if chosen else None)
        if chosen and chosen[0].note:
            parts = wrap(f"✗ {chosen[0].note}", max(20, self.size.width - 2), 3)
            summary = [line((part, "bad")) for part in parts]
        elif plan is not None and chosen and not chosen[0].fits:
            advice = f"the fewest that do: {plan.smallest_fit}" if plan.smallest_fit else "no number of devices does"
            summary.append(line((f"✗ {spec.num_devices} x {spec.target} cannot hold it; {advice}", "bad")))
        elif chosen and chosen[0].ms_per_token is not None:
            self._learn(spec, chosen[0])
            summary.append(consequence(chosen[0], self._before))
        summary.append(line(("Runs as a process of its own: leaving this screen or the app does not stop it.", "dim")))
        self.query_one("#compile-summary", Pane).show(summary)

    def _learn(self, spec: JobSpec, row: FitRow) -> None:
        """Keep what another choice is to be compared with: the last one that was estimated."""
        if self._known is not None and self._known[0] != spec:
            self._before = self._known[1]
        self._known = (spec, row)

    async def _plan(self, spec: JobSpec) -> None:
        await asyncio.sleep(_SETTLE_S)  # while an arrow key is held, only the last value is planned
        counts = tuple(sorted({*DEVICE_COUNTS, max(1, spec.num_devices)}))
        plan = await asyncio.to_thread(plan_fit, self._prefix, spec, counts)
        self._show_plan(spec, plan)
        self._show_plan(spec, await add_estimates(plan, self._prefix, spec, counts))

    def _show_plan(self, spec: JobSpec, plan: FitPlan) -> None:
        self.query_one(FitTable).show_plan(plan, spec.num_devices)
        text = f"ms/token estimated for {plan.tokens:,} tokens" if plan.tokens else "planned"
        text = f"{text}; no ms/token: {plan.note}" if plan.note else text
        self.note(text if plan.rows else "")
        self._summarise(spec, plan)

    def action_next_field(self) -> None:
        """Down."""
        self._form.move(1)

    def action_previous_field(self) -> None:
        """Up."""
        self._form.move(-1)

    def action_increase(self) -> None:
        """Right."""
        self._form.step(1)

    def action_decrease(self) -> None:
        """Left."""
        self._form.step(-1)

    def action_switch(self) -> None:
        """Space."""
        self._form.toggle()

    def action_start(self) -> None:
        """Start the child and follow it."""
        try:
            job = self._launcher.start(self.spec)
        except (HyperDexError, OSError) as error:
            self.say(f"cannot start the compile: {error}", "error")
            return
        self.post_message(OpenRun(job.model_id, job.job_id))


def consequence(row: FitRow, before: FitRow | None) -> Line:
    """What a choice gives, and what it changed."""
    speed = row.ms_per_token or 0.0
    spans: list[Span] = [
        (f"{speed:,.3g} ms/token", "strong"),
        (f", {bytes_text(row.total_bytes)} each", "text"),
    ]
    if before is not None and before.ms_per_token:
        changes = (
            (change_text(before.ms_per_token, speed), "ms/token"),
            (change_text(before.total_bytes, row.total_bytes) if before.total_bytes else "", "memory"),
        )
        shown = ", ".join(f"{change} {what}" for change, what in changes if change not in ("", "0 %"))
        spans.append((f"; the last change: {shown or 'none in either'}", "accent" if shown else "dim"))
    return tuple(spans)
