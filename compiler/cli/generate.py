"""`hyperdex generate`: a build runs on the emulator and its text comes out as it is made."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli.answer import answered, json_option
from compiler.cli.continuation import Continuation, stream
from compiler.cli.options import build_option, examples, model_argument, prefix_option
from compiler.cli.output import OutputFile, warn, write_output
from compiler.cli.prompt import Decode, Prompt, parse_prompts, read_prompts
from compiler.cli.sampling import DEFAULT_NEW_TOKENS, generation_options, warn_of_idle_options
from compiler.cli.selection import open_workspace, select_build
from compiler.cli.transcript import Form, Pace, Result, Transcript
from compiler.errors import UsageError
from compiler.sanitize import one_line

if TYPE_CHECKING:
    from compiler.emulator.session import SamplingParameters, Session
    from compiler.workspace import ModelFolder


@click.command(
    name="generate",
    epilog=examples(
        "hyperdex generate hyperdex/demo 'The owl lives in'",
        "hyperdex generate hyperdex/demo --prompts questions.txt --json > answers.jsonl",
        "hyperdex generate hyperdex/demo 'Tell me' --do-sample --temperature 0.8 --seed 7 --stop .",
        "echo 'Who makes cakes?' | hyperdex generate hyperdex/demo - --timing",
    ),
)
@model_argument
@click.argument("prompt", required=False)
@prefix_option
@build_option
@click.option(
    "--prompts",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help='Continue every line of FILE ("-": stdin) that is not empty, each as if it were alone.',
)
@generation_options
@json_option("One JSON object per prompt instead of text, when it is done.")
@json_option("One JSON object per token, and one per prompt when it is done.", "--stream-json", "stream_json")
@click.option(
    "--logits", type=OutputFile(), metavar="FILE", help="Save the logits of each new token, float32, as .npy."
)
@click.option("--verify", is_flag=True, help="First compare the hash of every file of the build, weights included.")
@click.option(
    "--timing",
    is_flag=True,
    help="Say how long the devices would take, and this machine took: on stderr, or in the JSON.",
)
@click.option("--trace", type=OutputFile(), metavar="FILE", help="Save the last token in time, for Perfetto.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model_id: str,
    prompt: str | None,
    prefix: Path | None,
    build: str | None,
    prompt_ids: str | None,
    prompts: Path | None,
    max_new_tokens: int | None,
    stop: tuple[str, ...],
    as_json: bool,
    stream_json: bool,
    logits: Path | None,
    verify: bool,
    timing: bool,
    trace: Path | None,
    **sampling: Any,
) -> None:
    """Run MODEL_ID's program on the emulator and print how it continues PROMPT ("-": the text on stdin).

    Equal options give equal tokens, on any number of devices. stdout carries the continuation alone.
    """
    from compiler.emulator.session import SamplingParameters, check_sampling

    if as_json and stream_json:
        raise UsageError("--json and --stream-json exclude each other", "choose one")
    if prompts is not None and (logits is not None or trace is not None):
        raise UsageError("--logits and --trace are of one prompt, --prompts gives many", "generate them one by one")
    parameters = SamplingParameters(**sampling)
    check_sampling(parameters)
    warn_of_idle_options(ctx, parameters)
    given = parse_prompts(prompt, prompt_ids, prompts, stop)
    folder = open_workspace(prefix).model(model_id)
    name = select_build(folder, build)
    session = open_session(folder.param(name), folder.inst(name), verify=verify)
    _warn_of_stale_build(folder, name)
    ids, decode = read_prompts(given, folder, stop)
    counts = [max_new_tokens or _room(session, each) for each in ids]
    _check_all(session, ids, counts)
    form = Form.JSON if as_json else Form.STREAM if stream_json else Form.TEXT if decode is not None else Form.IDS
    generation = Generation(folder, name, session, decode, stop, parameters, form, timing, logits, trace)
    for index, (each, tokens, count) in enumerate(zip(given, ids, counts, strict=True)):
        if prompts is not None and form in (Form.TEXT, Form.IDS):
            click.echo(f"[Info] Prompt {index + 1} of {len(given)}: {one_line(str(each), 200)}", err=True)
        generation.run(index, each, tokens, count)
    answered()


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


def open_session(param_dir: Path, inst_dir: Path, *, verify: bool = False) -> Session:
    """A session on the machine of one build; `verify` compares the hash of every file first.

    Raises:
        ArtifactError: the build is damaged or foreign.
    """
    from compiler.artifacts.reader import open_build
    from compiler.cli.ranks import open_machine
    from compiler.emulator.session import Session

    return Session(open_machine(open_build(param_dir, inst_dir, verify=verify)))


def _warn_of_stale_build(folder: ModelFolder, name: str) -> None:
    from compiler.staleness import stale_build

    if reason := stale_build(folder, name):
        warn(f"{folder.model_id} {name} is stale: {reason}; hyperdex compile {folder.model_id} renews it")


def _room(session: Session, ids: list[int]) -> int:
    """How many tokens to generate when nobody said."""
    return max(1, min(DEFAULT_NEW_TOKENS, session.machine.build.manifest.max_length - len(ids)))


def _check_all(session: Session, prompts: Sequence[list[int]], counts: Sequence[int]) -> None:
    """Refuse a prompt that the build cannot run before the first one does.

    Raises:
        UsageError: naming the prompt.
    """
    from compiler.emulator.session import check_lengths, check_tokens

    manifest = session.machine.build.manifest
    for index, (ids, count) in enumerate(zip(prompts, counts, strict=True)):
        try:
            check_lengths(len(ids), count, manifest.max_length)
            check_tokens("prompt token", ids, manifest.vocab_size)
        except UsageError as error:
            if len(prompts) == 1:
                raise
            raise UsageError(f"prompt {index + 1} of {len(prompts)}: {error}") from None


def _save_trace(session: Session, path: Path, position: int) -> None:
    from compiler.cli.timing import save_trace

    save_trace(session.machine, path, position)


def _save_logits(path: Path, rows: list[Any]) -> None:
    """Write float32 [new tokens, vocabulary] as .npy."""
    import numpy as np

    content = io.BytesIO()
    np.save(content, np.stack(rows).astype(np.float32))
    write_output(path, content.getvalue())
