"""`hyperdex generate`: a build runs on the emulator and its text comes out as it is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli.answer import answered, json_option
from compiler.cli.generation import Generation
from compiler.cli.options import build_option, examples, model_argument, prefix_option
from compiler.cli.output import OutputFile, warn
from compiler.cli.prompt import parse_prompts, read_prompts
from compiler.cli.sampling import DEFAULT_NEW_TOKENS, generation_options, warn_of_idle_options
from compiler.cli.selection import open_workspace, select_build
from compiler.cli.transcript import Form
from compiler.errors import UsageError
from compiler.sanitize import one_line

if TYPE_CHECKING:
    from compiler.emulator.session import Session
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
    from compiler.cli.ranks import check_agreement, check_source, is_speaker
    from compiler.emulator.session import SamplingParameters, check_sampling

    if as_json and stream_json:
        raise UsageError("--json and --stream-json exclude each other", "choose one")
    if prompts is not None and (logits is not None or trace is not None):
        raise UsageError("--logits and --trace are of one prompt, --prompts gives many", "generate them one by one")
    parameters = SamplingParameters(**sampling)
    check_sampling(parameters)
    warn_of_idle_options(ctx, parameters)
    check_source(prompt == "-" or str(prompts) == "-")
    if not (speaks := is_speaker()):
        answered()
    given = parse_prompts(prompt, prompt_ids, prompts)
    folder = open_workspace(prefix).model(model_id)
    name = select_build(folder, build)
    session = open_session(folder.param(name), folder.inst(name), verify=verify)
    _warn_of_stale_build(folder, name)
    ids, decode = read_prompts(given, folder, stop)
    counts = [max_new_tokens or _room(session, each) for each in ids]
    _check_all(session, ids, counts)
    check_agreement(
        session.machine,
        {"the prompts": ids, "--max-new-tokens": counts, "--stop": stop, "the sampling options": parameters},
    )
    form = Form.JSON if as_json else Form.STREAM if stream_json else Form.TEXT if decode is not None else Form.IDS
    generation = Generation(folder, name, session, decode, stop, parameters, form, timing, logits, trace)
    for index, (each, tokens, count) in enumerate(zip(given, ids, counts, strict=True)):
        if prompts is not None and speaks and form in (Form.TEXT, Form.IDS):
            click.echo(f"[Info] Prompt {index + 1} of {len(given)}: {one_line(str(each), 200)}", err=True)
        generation.run(index, each, tokens, count)
    answered()


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
