"""`hyperdex generate`: a build runs on the emulator and its text comes out as it is made."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli.options import build_option, model_argument, open_workspace, prefix_option, select_build
from compiler.cli.output import OutputFile, warn, write_output
from compiler.cli.prompt import parse_prompt, read_prompt
from compiler.errors import UsageError
from compiler.sanitize import printable

if TYPE_CHECKING:
    from compiler.cli.continuation import Continuation
    from compiler.emulator.session import SamplingParameters, Session
    from compiler.workspace import ModelFolder

DEFAULT_NEW_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """One generated token and the text that became certain with it."""

    token_id: int
    text: str


@click.command(name="generate")
@model_argument
@click.argument("prompt", required=False)
@prefix_option
@build_option
@click.option("--prompt-ids", metavar="1,2,3", help="The prompt as token ids; needs no tokenizer.")
@click.option(
    "--max-new-tokens",
    type=click.IntRange(min=1),
    metavar="K",
    help=f"[default: {DEFAULT_NEW_TOKENS}, or what the build has room for]",
)
@click.option("--do-sample", is_flag=True, help="Draw each token instead of taking the most probable one.")
@click.option("--top-k", default=0, show_default=True, metavar="K", type=int, help="Draw from the best K; 0: all.")
@click.option("--top-p", default=1.0, show_default=True, metavar="P", help="Draw from the best that make up P.")
@click.option("--temperature", default=1.0, show_default=True, metavar="T", help="Above 1 flattens, below sharpens.")
@click.option("--repetition-penalty", default=1.0, show_default=True, metavar="R", help="Above 1 avoids what was said.")
@click.option("--seed", default=0, show_default=True, metavar="S", help="Equal seeds draw equal texts.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; may be given several times.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end instead of text.")
@click.option("--stream-json", is_flag=True, help="One JSON object per token, and a last one with everything.")
@click.option("--logits", type=OutputFile(), metavar="FILE", help="Save logits as .npy.")
@click.option("--verify", is_flag=True, help="First compare the hash of every file of the build, weights included.")
@click.option("--timing", is_flag=True, help="Say how long the devices would take: on stderr, or in the JSON object.")
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
    """Run MODEL_ID's program on the emulator and print how it continues PROMPT."""
    from compiler.cli.continuation import Continuation
    from compiler.emulator.session import SamplingParameters, check_sampling

    if as_json and stream_json:
        raise UsageError("--json and --stream-json exclude each other", "choose one")
    parameters = SamplingParameters(**sampling)
    check_sampling(parameters)
    _warn_of_idle_options(ctx, parameters)
    given = parse_prompt(prompt, prompt_ids, stop)
    folder = open_workspace(prefix).model(model_id)
    name = select_build(folder, build)
    session = open_session(folder.param(name), folder.inst(name), verify=verify)
    _warn_of_stale_build(folder, name)
    ids, decode = read_prompt(given, folder, stop)
    text = Continuation(decode or (lambda _ids: ""), stop)
    count = max_new_tokens or _room(session, ids)
    rows: list[Any] | None = [] if logits is not None else None
    for piece in stream(session, ids, count, parameters, text, rows):
        if stream_json:
            _say(json.dumps({"token_id": piece.token_id, "text": piece.text}) + "\n")
        elif decode is None and not as_json:
            _say(f"{',' if len(text.token_ids) > 1 else ''}{piece.token_id}")
        elif not as_json:
            _say(printable(piece.text, keep="\n\t"))
    if logits is not None:
        _save_logits(logits, rows or [])
    made = len(text.token_ids)
    times = _times(session, len(ids), made, trace, timing and (as_json or stream_json))
    _say_end(text, ids, name, session, as_json, stream_json, times)
    if timing and not times:
        from compiler.cli.timing import timing_lines

        for line in timing_lines(session.machine, len(ids), made):
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


def stream(
    session: Session,
    prompt_ids: list[int],
    max_new_tokens: int,
    parameters: SamplingParameters,
    text: Continuation,
    rows: list[Any] | None = None,
) -> Iterator[Piece]:
    """Tokens as they come, until the machine or a stop string ends them.

    Args:
        session: the machine.
        prompt_ids: at least one token.
        max_new_tokens: most tokens to generate.
        parameters: how they are chosen.
        text: where they become text.
        rows: gets the logits of every token, float32 [vocabulary]; None: not wanted.

    Raises:
        UsageError: an argument is out of range.
        MachineFault: while iterating.
    """
    observer = None if rows is None else lambda values, _index: rows.append(values)
    for step in session.generate(prompt_ids, max_new_tokens, parameters, observer=observer):
        piece = text.push(step.token_id)
        if step.finished and not text.stopped:
            piece += text.finish()
        yield Piece(step.token_id, piece)
        if text.stopped:
            return


def _warn_of_idle_options(ctx: click.Context, parameters: SamplingParameters) -> None:
    """Say which options were given and have no effect."""
    from click.core import ParameterSource

    if parameters.do_sample:
        return
    names = ("top_k", "top_p", "temperature", "seed")
    given = [name for name in names if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        warn(f"{options} without --do-sample changes nothing: the most probable token is taken")


def _warn_of_stale_build(folder: ModelFolder, name: str) -> None:
    from compiler.staleness import stale_build

    if reason := stale_build(folder, name):
        warn(f"{folder.model_id} {name} is stale: {reason}; hyperdex compile {folder.model_id} renews it")


def _room(session: Session, ids: list[int]) -> int:
    """How many tokens to generate when nobody said."""
    return max(1, min(DEFAULT_NEW_TOKENS, session.machine.build.manifest.max_length - len(ids)))


def _times(session: Session, prompt_tokens: int, new_tokens: int, trace: Path | None, wanted: bool) -> dict[str, Any]:
    """Save the trace, and return what the JSON object says of time."""
    from compiler.cli.timing import save_trace, timing_object

    if trace is not None:
        save_trace(session.machine, trace, prompt_tokens + new_tokens - 2)
    return {"timing": timing_object(session.machine, prompt_tokens, new_tokens)} if wanted else {}


def _say(text: str) -> None:
    from compiler.cli.ranks import is_speaker

    if is_speaker():
        sys.stdout.write(text)
        sys.stdout.flush()


def _say_end(
    text: Continuation,
    prompt_ids: list[int],
    build: str,
    session: Session,
    as_json: bool,
    stream_json: bool,
    times: dict[str, Any],
) -> None:
    stops = session.machine.build.manifest.eos_token_ids
    stopped = text.stopped or (bool(text.token_ids) and text.token_ids[-1] in stops)
    result = {
        "prompt_token_ids": prompt_ids,
        "token_ids": text.token_ids,
        "text": text.shown,
        "build": build,
        "finish_reason": "stop" if stopped else "length",
        **times,
    }
    if stream_json:
        _say(json.dumps({"done": True, **result}) + "\n")
    elif as_json:
        _say(json.dumps(result) + "\n")
    else:
        _say("\n")


def _save_logits(path: Path, rows: list[Any]) -> None:
    """Write float32 [new tokens, vocabulary] as .npy."""
    import numpy as np

    content = io.BytesIO()
    np.save(content, np.stack(rows).astype(np.float32))
    write_output(path, content.getvalue())
