"""Where a model fits and how fast it would be: every target with one to many devices, before anything is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.target import TARGET_NAMES
from hyperdex_tui.backend.fit import FIT_COUNTS, FitRow, estimate_fit
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import OpenCompile, RowChosen
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.fit_list import FitList
from hyperdex_tui.widgets.painted import Line, Pane, line

_USUAL_ROWS = 20


class FitScreen(AppScreen):
    """The config in plain words on top, the table below.

    Args:
        prefix: folder of all models.
        model_id: a model here or on the hub.
        words: what its config says, () for one on the hub.
    """

    scope = "fit"
    BINDINGS: ClassVar[list[BindingType]] = bindings("fit")

    def __init__(self, prefix: Path, model_id: str, words: tuple[str, ...] = ()) -> None:
        super().__init__(f"Fit › {model_id}")
        self.model_id = model_id
        self._prefix = prefix
        self._words = words

    def compose_body(self) -> ComposeResult:
        """Words, table, what the table counts."""
        yield Pane(id="fit-words")
        yield FitList()
        yield Pane(id="fit-note", classes="detail")

    def on_resize(self) -> None:
        """A small terminal has room for the table alone."""
        is_usual = self.size.height >= _USUAL_ROWS
        self.query_one("#fit-words", Pane).display = is_usual and bool(self._words)
        self.query_one("#fit-note", Pane).display = is_usual

    def on_mount(self) -> None:
        """Begin to ask."""
        pane = self.query_one("#fit-words", Pane)
        pane.styles.height = len(self._words) + 1
        pane.show([line((sentence, "text")) for sentence in self._words])
        self.action_rescan()

    def action_rescan(self) -> None:
        """Ask again."""
        self.run_worker(self._ask(), exclusive=True, group="fit")

    async def _ask(self) -> None:
        """One target after the other, so that the first is there soon."""
        listing = self.query_one(FitList)
        rows: list[FitRow] = []
        notes: list[tuple[int, int]] = []
        listing.problem = ""
        listing.show(())
        for number, target in enumerate(TARGET_NAMES):
            self.note(f"estimating {target}, {number + 1} of {len(TARGET_NAMES)}")
            plan = await estimate_fit(self._prefix, self.model_id, target, FIT_COUNTS)
            if plan.is_problem:
                listing.problem = plan.note
                listing.rows_changed()
                self.note("")
                return
            rows += plan.rows
            listing.show(tuple(rows))
            notes.append((plan.max_length, plan.tokens))
            self._explain(notes[0])
        self.note("estimated from config.json")

    def _explain(self, counted: tuple[int, int]) -> None:
        max_length, tokens = counted
        lines: list[Line] = [
            line(("Bytes are those of one device. ", "text"), (f"Caches hold {max_length:,} tokens.", "dim")),
            line((f"ms/token is estimated, the mean over a text of {tokens:,} tokens.", "dim")),
            line(("Padding: the part of the weights beyond an even share of the parameters.", "dim")),
            line(
                ("Enter", "accent"), " compiles for the row under the cursor; ", ("e", "accent"), " exports the table."
            ),
        ]
        self.query_one("#fit-note", Pane).show(lines)

    def on_row_chosen(self, event: RowChosen) -> None:
        """Enter."""
        self.action_compile()

    def action_compile(self) -> None:
        """The compile screen with the row's target and count."""
        row: FitRow | None = self.query_one(FitList).current
        if row is not None:
            self.post_message(OpenCompile(self.model_id, row.target, row.num_devices))
