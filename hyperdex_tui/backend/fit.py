"""Will it fit, and how fast: planned for several device counts before anything is downloaded.

Bytes come from config.json by the compiler's own plan. Milliseconds per token
are estimated by a child process, which also asks the hub for the config.json
of a model that is not here yet.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

from compiler.checkpoint.json_object import read_json
from compiler.errors import HyperDexError, UnsupportedModelError
from compiler.sanitize import one_line
from compiler.workspace import Workspace
from hyperdex_tui.backend.child import ask_compiler
from hyperdex_tui.backend.jobs import JobSpec

DEVICE_COUNTS = (1, 2, 4, 8)
FIT_COUNTS = (1, 2, 4, 8, 16, 32)
"""Device counts of the table over all targets."""

_PROMPT_TOKENS, _NEW_TOKENS = 32, 2016
"""The text an estimate is for: that of the published measurements, or what the model allows."""


@dataclass(frozen=True, slots=True)
class FitRow:
    """One device when `num_devices` share the model; sizes in bytes, 0 while unknown.

    Attributes:
        weight_bytes: parameters with their padding.
        cache_bytes: keys and values at max_length.
        total_bytes: both and the host buffer.
        ms_per_token: estimated, None while unknown.
        note: why this count is impossible, "" when it is not.
        padding_bytes: the part of weight_bytes beyond an even share.
    """

    num_devices: int
    weight_bytes: int = 0
    cache_bytes: int = 0
    total_bytes: int = 0
    capacity_bytes: int = 0
    ms_per_token: float | None = None
    note: str = ""
    target: str = ""
    padding_bytes: int = 0

    @property
    def fits(self) -> bool:
        """Whether one device holds it."""
        return not self.note and self.total_bytes <= self.capacity_bytes


@dataclass(frozen=True, slots=True)
class FitPlan:
    """The rows for all device counts; `note` says why there are none, or why they lack ms/token.

    Attributes:
        smallest_fit: fewest devices that hold the model, 0 when unknown or none does.
        is_problem: whether `note` says that the model cannot be compiled at all.
        tokens: length of the text that ms_per_token is for, 0 without estimates.
        max_length: tokens the caches are counted for, 0 when unknown.
    """

    rows: tuple[FitRow, ...] = ()
    note: str = ""
    smallest_fit: int = 0
    is_problem: bool = False
    tokens: int = 0
    max_length: int = 0


def config_file(prefix: Path, model_id: str) -> Path | None:
    """The config.json to plan with: the model's own, the bundled demo's, or None."""
    from compiler.demo import DEMO_MODEL_ID, demo_folder

    path = Workspace(prefix).model(model_id).ckpt / "config.json"
    if path.is_file():
        return path
    return demo_folder() / "config.json" if model_id == DEMO_MODEL_ID else None


def plan_fit(prefix: Path, spec: JobSpec, counts: tuple[int, ...]) -> FitPlan:
    """Plan the bytes for each device count; slow at first (imports), so never on the event loop."""
    try:
        path = config_file(prefix, spec.model_id)
        if path is None:
            return FitPlan(note="asking the hub for the model's config.json …")
        config, damage = read_json(path)
        if damage:
            return FitPlan(note=damage, is_problem=True)
        rows, smallest = [], 0
        for count in counts:
            row, smallest = _plan_row(config, replace(spec, num_devices=count))
            rows.append(row)
        return FitPlan(tuple(rows), smallest_fit=smallest)
    except HyperDexError as error:
        return FitPlan(note=str(error), is_problem=True)
    except Exception as error:  # a plan is advice: a bug in it must not end the app
        return FitPlan(note=one_line(f"no plan, a bug of ours: {type(error).__name__}: {error}", 300), is_problem=True)


def _plan_row(config: dict[str, object], spec: JobSpec) -> tuple[FitRow, int]:
    """The row of one device count and the smallest count that fits.

    Raises:
        UnsupportedModelError: the model cannot be compiled for any count.
    """
    from compiler.planning import CompileOptions, plan_memory
    from compiler.target import load_target
    from compiler.target.topology import wire

    options = CompileOptions(
        num_devices=spec.num_devices, target=spec.target, dtype=spec.dtype, max_length=spec.max_length or None
    )
    target = load_target(spec.target)
    try:
        wire(spec.topology or target.link.topology, spec.num_devices, target.link.server_devices)
        plan = plan_memory(config, options)
    except UnsupportedModelError:
        raise
    except HyperDexError as error:
        return FitRow(spec.num_devices, note=str(error)), 0
    total = plan.weight_bytes + plan.kv_bytes + plan.io_bytes
    return FitRow(spec.num_devices, plan.weight_bytes, plan.kv_bytes, total, plan.capacity_bytes), plan.smallest_fit


async def add_estimates(plan: FitPlan, prefix: Path, spec: JobSpec, counts: tuple[int, ...]) -> FitPlan:
    """`plan` with estimated ms/token, and with totals where only the hub knows the model.

    A child does the work, so that no key waits; cancelling this ends the child.
    """
    if plan.is_problem:
        return plan
    config = config_file(prefix, spec.model_id)
    tokens = _text_length(config, spec)
    command = ["estimate", str(config.absolute()) if config else spec.model_id]
    possible = tuple(row.num_devices for row in plan.rows if not row.note) or counts
    command += ["--prefix", str(prefix.absolute()), "--num-device", ",".join(map(str, possible)), "--json"]
    command += [*spec.choices, *_text_options(tokens)]
    answer = await ask_compiler(*command)
    found, complaint = _estimates(answer.output), answer.complaint
    if plan.rows:
        rows = tuple(replace(row, ms_per_token=_number(found, row.num_devices, "ms_per_token")) for row in plan.rows)
        return replace(plan, rows=rows, tokens=_tokens(found, tokens)) if found else replace(plan, note=complaint)
    if not found:
        return FitPlan(note=f"no config.json here; {complaint or 'the hub gave none'}")
    return FitPlan(
        tuple(_estimated_row(found, count, spec.target) for count in counts if count in found),
        smallest_fit=int(_number(found, counts[0], "smallest_fit") or 0),
        tokens=_tokens(found, tokens),
    )


async def estimate_fit(prefix: Path, model_id: str, target: str, counts: tuple[int, ...]) -> FitPlan:
    """Rows of one target for a model here or at the hub, all of them estimated by a child."""
    config = config_file(prefix, model_id)
    spec = JobSpec(model_id, target=target)
    tokens = _text_length(config, spec)
    command = ["estimate", str(config.absolute()) if config else model_id, "--prefix", str(prefix.absolute())]
    command += ["--num-device", ",".join(map(str, counts)), "--target", target, "--json"]
    command += _text_options(tokens)
    answer = await ask_compiler(*command)
    found = _estimates(answer.output)
    if not found:
        return FitPlan(note=answer.complaint or "no estimate, and no reason given", is_problem=True)
    rows = tuple(_estimated_row(found, count, target) for count in counts if count in found)
    length = int(_number(found, counts[0], "max_length") or 0)
    return FitPlan(
        rows, smallest_fit=_bytes(found, counts[0], "smallest_fit"), tokens=_tokens(found, tokens), max_length=length
    )


def _estimated_row(found: dict[int, dict[str, object]], count: int, target: str) -> FitRow:
    held, capacity = _bytes(found, count, "bytes_per_device"), _bytes(found, count, "capacity_bytes")
    refused = not found[count].get("fits") and held <= capacity  # for another reason than the HBM
    return FitRow(
        count,
        _bytes(found, count, "weight_bytes"),
        _bytes(found, count, "kv_bytes"),
        held,
        capacity,
        _number(found, count, "ms_per_token"),
        note=one_line(str(found[count].get("reason", "")), 300) if refused else "",
        target=target,
        padding_bytes=_bytes(found, count, "padding_bytes"),
    )


def _bytes(found: dict[int, dict[str, object]], count: int, name: str) -> int:
    return int(_number(found, count, name) or 0)


def _text_length(config: Path | None, spec: JobSpec) -> tuple[int, int]:
    """Prompt and new tokens that the model and the caches have room for; zeros where only the hub knows the model."""
    limit = spec.max_length
    if not limit and config is None:
        return 0, 0
    if not limit and config is not None:
        positions = read_json(config).fields.get("max_position_embeddings")
        limit = positions if isinstance(positions, int) else 0
    limit = limit if limit > 1 else _PROMPT_TOKENS + _NEW_TOKENS
    prompt = min(_PROMPT_TOKENS, limit // 2)
    return prompt, min(_NEW_TOKENS, limit - prompt)


def _text_options(tokens: tuple[int, int]) -> list[str]:
    """Options of `estimate` for a text; without them it takes as long a one as the model has room for."""
    return ["--input-tokens", str(tokens[0]), "--output-tokens", str(tokens[1])] if tokens[0] else []


def _tokens(found: dict[int, dict[str, object]], asked: tuple[int, int]) -> int:
    """Length of the text that was estimated: the one asked for, else what its caches were counted for."""
    return sum(asked) or _bytes(found, next(iter(found), 0), "max_length")


def _estimates(output: bytes) -> dict[int, dict[str, object]]:
    """The estimates of a child by device count; {} for anything else."""
    try:
        loaded = json.loads(output)
    except ValueError:
        return {}
    entries = [entry for entry in loaded if isinstance(entry, dict)] if isinstance(loaded, list) else []
    return {count: entry for entry in entries if isinstance(count := entry.get("num_device"), int)}


def _number(found: dict[int, dict[str, object]], count: int, name: str) -> float | None:
    value = found.get(count, {}).get(name)
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None
