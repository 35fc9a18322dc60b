"""One prompt after another on an open build: tokens to the transcript, logits and trace to files, times to stderr."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli.continuation import Continuation, stream
from compiler.cli.output import write_output
from compiler.cli.prompt import Decode, Prompt
from compiler.cli.transcript import Form, Pace, Result, Transcript

if TYPE_CHECKING:
    from compiler.emulator.session import SamplingParameters, Session
    from compiler.workspace import ModelFolder


@dataclass(frozen=True, slots=True)
class Generation:
    """Everything that all prompts of one call share; the fields are what the options of the command ask for."""

    folder: ModelFolder
    build: str
    session: Session
    decode: Decode | None
    stop: Sequence[str]
    parameters: SamplingParameters
    form: Form
    timing: bool
    logits: Path | None
    trace: Path | None

    def run(self, index: int, prompt: Prompt, ids: list[int], count: int) -> None:
        """Continue one prompt, and write what was asked for.

        Args:
            index: of the prompt.
            prompt: as it was given.
            ids: its tokens.
            count: most tokens to generate.

        Raises:
            MachineFault: the machine stopped.
            UsageError, CapacityError: a file cannot be written.
        """
        text = Continuation(self.decode or (lambda _ids: ""), self.stop)
        rows: list[Any] | None = [] if self.logits is not None else None
        pace = Pace()
        with Transcript(self.form, index) as transcript:
            for piece in stream(self.session, ids, count, self.parameters, text, rows):
                pace.token()
                transcript.token(piece)
            if self.logits is not None:
                _save_logits(self.logits, rows or [])
            if self.trace is not None:
                _save_trace(self.session, self.trace, len(ids) + len(text.token_ids) - 2)
            transcript.end(self._result(index, prompt, ids, text), self._times(ids, text, pace))
        self._tell_times(ids, text, pace)

    def _result(self, index: int, prompt: Prompt, ids: list[int], text: Continuation) -> Result:
        stops = self.session.machine.build.manifest.eos_token_ids
        stopped = text.stopped or (bool(text.token_ids) and text.token_ids[-1] in stops)
        return Result(
            index=index,
            model_id=self.folder.model_id,
            build=self.build,
            prompt=prompt if isinstance(prompt, str) else None,
            prompt_token_ids=ids,
            token_ids=text.token_ids,
            text=text.shown,
            finish_reason="stop" if stopped else "length",
        )

    def _times(self, ids: list[int], text: Continuation, pace: Pace) -> dict[str, Any]:
        """What the JSON object says of time."""
        if not self.timing or self.form not in (Form.JSON, Form.STREAM):
            return {}
        from compiler.cli.timing import timing_object

        emulated = timing_object(self.session.machine, len(ids), len(text.token_ids))
        return {"timing": emulated, "measured": pace.fields()}

    def _tell_times(self, ids: list[int], text: Continuation, pace: Pace) -> None:
        """What stderr says of time: the pace to a person who watches, everything where it was asked for."""
        from compiler.cli.ranks import is_speaker

        if self.form in (Form.JSON, Form.STREAM) or not is_speaker():
            return
        if self.timing or sys.stderr.isatty():
            click.echo(f"[Info] {pace.line(len(ids))}", err=True)
        if self.timing:
            from compiler.cli.timing import timing_lines

            for line in timing_lines(self.session.machine, len(ids), len(text.token_ids)):
                click.echo(line, err=True)


def _save_trace(session: Session, path: Path, position: int) -> None:
    from compiler.cli.timing import save_trace

    save_trace(session.machine, path, position)


def _save_logits(path: Path, rows: list[Any]) -> None:
    """Write float32 [new tokens, vocabulary] as .npy."""
    import numpy as np

    content = io.BytesIO()
    np.save(content, np.stack(rows).astype(np.float32))
    write_output(path, content.getvalue())
