"""Decoding on the emulator against transformers' `generate`: the same checkpoint, the same dtype, in turn.

The shapes of OPT-1.3B and Llama-3.2-1B with made-up weights, and the bundled demo model. Both sides
run in their own process with THREADS threads; the prompt is given as ids. transformers runs greedy
`generate` with its default attention (sdpa) and cache, in inference mode, without its tokenizer; a first
run warms either side up, and is what "process start" is measured to. Builds for several devices are compared
within one process, which takes a token of each in turn. The read bandwidth is what torch sums a gigabyte with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.measure import Row, median, run_child
from bench.shapes import LLAMA_1B, OPT_1_3B, Shape, write_checkpoint

ROUNDS = 3
PROMPT_TOKENS = 33
NEW_TOKENS = 10
TURNS = 40
"""Tokens of each build that are taken in turn."""

THREADS = 2
DECODE_RATIOS = {"bfloat16": 1.2, "float32": 1.2, "float16": 1.0}
DEMO_RATIO = 3.0
BANDWIDTH_SHARE = 0.8
PREFILL_RATIO = 0.8
SPREAD_RATIO = 0.85
FIRST_TOKEN_LIMIT_S = 2.0
MEMORY_LIMIT_BYTES = 600_000_000
DEVICE_COUNTS = (2, 4)

_OURS = """
import json, sys, time
from pathlib import Path
from compiler.cli.generate import open_session
from compiler.workspace import Workspace
prefix, model, build, prompt_tokens, new_tokens, runs = sys.argv[1:]
folder = Workspace(Path(prefix)).model(model)
session = open_session(folder.param(build), folder.inst(build))
results = []
for run in range(int(runs)):
    began = time.perf_counter()
    times = []
    for _ in session.generate(list(range(4, 4 + int(prompt_tokens))), int(new_tokens), stop_ids=()):
        times.append(time.perf_counter() - began)
        if not run and len(times) == 1:
            started = float(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]) / 100
            first = float(Path("/proc/uptime").read_text().split()[0]) - started
    results.append((times[0], (len(times) - 1) / (times[-1] - times[0])))
print(json.dumps({"start": first, "prefill": results[-1][0], "decode": results[-1][1]}))
"""

_TURNS = """
import json, sys, time
from pathlib import Path
from compiler.cli.generate import open_session
from compiler.workspace import Workspace
prefix, model, new_tokens, *builds = sys.argv[1:]
folder = Workspace(Path(prefix)).model(model)
runs = []
for build in builds:
    session = open_session(folder.param(build), folder.inst(build))
    runs.append(session.generate(list(range(4, 8)), int(new_tokens) + 1, stop_ids=()))
for run in runs:
    next(run)
seconds = [[] for _ in runs]
for _ in range(int(new_tokens)):
    for run, taken in zip(runs, seconds):
        began = time.perf_counter()
        next(run)
        taken.append(time.perf_counter() - began)
print(json.dumps(seconds))
"""

_THEIRS = """
import json, sys, time
import torch
from transformers import AutoModelForCausalLM
torch.set_num_threads(int(sys.argv[6]))
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[2])).eval()
prompt = torch.arange(4, 4 + int(sys.argv[3]))[None]
new_tokens = int(sys.argv[4])
class Times:
    def put(self, value): self.seen.append(time.perf_counter())
    def end(self): pass
times = Times()
for run in range(int(sys.argv[5])):
    times.seen = []
    with torch.inference_mode():
        model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=new_tokens,
                       min_new_tokens=new_tokens, streamer=times)
given, *seen = times.seen
print(json.dumps({"prefill": seen[0] - given, "decode": (len(seen) - 1) / (seen[-1] - seen[0])}))
"""

_READ = """
import sys, time
import torch
torch.set_num_threads(int(sys.argv[1]))
block = torch.ones(1 << 28)
times = []
for _ in range(7):
    began = time.perf_counter()
    block.sum()
    times.append(time.perf_counter() - began)
print(4 * block.numel() / sorted(times)[len(times) // 2])
"""

Sample = dict[str, float]


def measure() -> list[Row]:
    """Decode, prefill, load and memory rows."""
    rows: list[Row] = []
    for measured in (
        partial(_shape_rows, "OPT-1.3B", OPT_1_3B),
        partial(_shape_rows, "Llama-3.2-1B", LLAMA_1B),
        _demo_rows,
    ):
        with TemporaryDirectory(prefix="hyperdex-bench-") as folder:  # one each: together they fill a disk
            rows += measured(Path(folder))
    return rows


def _shape_rows(title: str, shape: Shape, prefix: Path) -> list[Row]:
    from compiler.workspace import Workspace

    model = f"bench/{shape.name}"
    folder = Workspace(prefix).model(model)
    ckpt = folder.ckpt
    write_checkpoint(shape, ckpt)
    rows: list[Row] = []
    for dtype, limit in DECODE_RATIOS.items():
        build = _compile(prefix, model, 1, dtype)
        ours, theirs, read = _in_turn(
            [
                lambda build=build: _ours(prefix, model, build, PROMPT_TOKENS, NEW_TOKENS),  # type: ignore[misc]
                lambda dtype=dtype: _theirs(ckpt, dtype, PROMPT_TOKENS, NEW_TOKENS),  # type: ignore[misc]
                _read,
            ]
        )
        rows.append(_ratio(f"{title} shape, {dtype}: decode", "decode", ours, theirs, limit))
        streamed = _streamed_bytes(folder.param(build), folder.inst(build))
        rows.append(_share(f"{title} shape, {dtype}", ours, read, streamed))
        rows.append(
            _speed(
                f"{title} shape, {dtype}: prompt of {PROMPT_TOKENS} tokens", ours, theirs, PROMPT_TOKENS, PREFILL_RATIO
            )
        )
        if dtype == "bfloat16" and shape is OPT_1_3B:
            rows += _load_rows(ours)
            rows += _device_rows(prefix, model, build)
    return rows


def _demo_rows(prefix: Path) -> list[Row]:
    from compiler.demo import DEMO_MODEL_ID, install_demo
    from compiler.workspace import Workspace

    ckpt = Workspace(prefix).model(DEMO_MODEL_ID).ckpt
    install_demo(ckpt)
    rows = []
    for dtype in ("float16", "float32"):
        build = _compile(prefix, DEMO_MODEL_ID, 1, dtype)
        ours, theirs = _in_turn(
            [
                lambda build=build: _ours(prefix, DEMO_MODEL_ID, build, 8, 100),  # type: ignore[misc]
                lambda dtype=dtype: _theirs(ckpt, dtype, 8, 100),  # type: ignore[misc]
            ]
        )
        rows.append(_ratio(f"demo model, {dtype}: decode", "decode", ours, theirs, DEMO_RATIO))
    return rows


def _streamed_bytes(param: Path, inst: Path) -> int:
    """Bytes of parameters that a token reads: all matrices and vectors once; of the tables, a row each, nothing."""
    from compiler.artifacts.reader import open_build
    from compiler.memory_map import CHANNELS

    memory_map = open_build(param, inst).memory_map
    matrices = [each for each in memory_map.regions if each.is_parameter and each.layout == "rows"]
    return CHANNELS * sum(each.used_bytes(memory_map.dtype.itemsize) for each in matrices)


def _share(name: str, ours: list[Sample], read: list[Sample], streamed_bytes: int) -> Row:
    """How much of the bandwidth that torch reads memory with goes into what each token reads."""
    read_bytes_per_s = median([each["bytes_per_s"] for each in read])
    used = median([each["decode"] for each in ours]) * streamed_bytes
    share = used / read_bytes_per_s
    value = f"{share:.0%} ({used / 1e9:.1f} of {read_bytes_per_s / 1e9:.1f} GB/s)"
    return Row(f"{name}: share of the read bandwidth", value, f"{BANDWIDTH_SHARE:.0%}", share >= BANDWIDTH_SHARE)


def _load_rows(ours: list[Sample]) -> list[Row]:
    seconds = median([each["start"] for each in ours])
    peak = max(each["peak"] for each in ours)
    return [
        Row(
            f"OPT-1.3B shape, bfloat16: process start to first token of {PROMPT_TOKENS}, warm page cache",
            f"{seconds:.2f} s",
        ),
        Row(
            "OPT-1.3B shape, bfloat16: anonymous memory",
            f"{peak / 1e6:.0f} MB",
            f"{MEMORY_LIMIT_BYTES / 1e6:.0f} MB",
            peak < MEMORY_LIMIT_BYTES,
        ),
    ]


def _device_rows(prefix: Path, model: str, single: str) -> list[Row]:
    """Several devices in one process, and the first token of a short prompt."""
    builds = [_compile(prefix, model, count, "bfloat16") for count in DEVICE_COUNTS]
    (one,) = _in_turn([lambda: _ours(prefix, model, single, 4, NEW_TOKENS, 1)])
    seconds = median([each["start"] for each in one])
    rows = [
        Row(
            "OPT-1.3B shape, bfloat16: process start to first token of a 4-token prompt, warm page cache",
            f"{seconds:.2f} s",
            f"{FIRST_TOKEN_LIMIT_S:.0f} s",
            seconds < FIRST_TOKEN_LIMIT_S,
        )
    ]
    arguments = ["-c", _TURNS, str(prefix), model, str(TURNS), single, *builds]
    taken = json.loads(run_child(arguments, {"OMP_NUM_THREADS": str(THREADS)}).stdout)
    alone, *many = [[{"decode": 1.0 / each} for each in times] for times in taken]
    for count, samples in zip(DEVICE_COUNTS, many, strict=True):
        title = f"OPT-1.3B shape, bfloat16: decode on {count} devices, against 1"
        rows.append(_ratio(title, "decode", samples, alone, SPREAD_RATIO))
    return rows


def _compile(prefix: Path, model: str, num_devices: int, dtype: str) -> str:
    from compiler.pipeline import CompileOptions, compile_model
    from compiler.workspace import Workspace

    options = CompileOptions(num_devices=num_devices, dtype=dtype, offline=True)
    return str(compile_model(Workspace(prefix), model, options, lambda _record: None))


def _in_turn(sides: list[Callable[[], Sample]]) -> list[list[Sample]]:
    """ROUNDS samples of each side, the sides taking turns, after one of each that only warms the page cache."""
    for side in sides:
        side()
    rounds = [[side() for side in sides] for _ in range(ROUNDS)]
    return [list(samples) for samples in zip(*rounds, strict=True)]


def _ours(prefix: Path, model: str, build: str, prompt: int, new: int, runs: int = 2) -> Sample:
    child = run_child(
        ["-c", _OURS, str(prefix), model, build, str(prompt), str(new), str(runs)], {"OMP_NUM_THREADS": str(THREADS)}
    )
    sample: Any = json.loads(child.stdout)
    return {**sample, "peak": float(child.peak_bytes)}


def _read() -> Sample:
    child = run_child(["-c", _READ, str(THREADS)], {"OMP_NUM_THREADS": str(THREADS)})
    return {"bytes_per_s": float(child.stdout)}


def _theirs(ckpt: Path, dtype: str, prompt: int, new: int) -> Sample:
    arguments = ["-c", _THEIRS, str(ckpt), dtype, str(prompt), str(new), "2", str(THREADS)]
    sample: Any = json.loads(run_child(arguments, {"OMP_NUM_THREADS": str(THREADS)}).stdout)
    return dict(sample)


def _ratio(name: str, key: str, ours: list[Sample], theirs: list[Sample], limit: float) -> Row:
    mine, other = (median([each[key] for each in samples]) for samples in (ours, theirs))
    ratio = mine / other
    return Row(name, f"{ratio:.2f}x ({mine:.4g} to {other:.4g} tokens/s)", f"at least {limit}x", ratio >= limit)


def _speed(name: str, ours: list[Sample], theirs: list[Sample], tokens: int, limit: float) -> Row:
    mine, other = (tokens / median([each["prefill"] for each in samples]) for samples in (ours, theirs))
    ratio = mine / other
    return Row(name, f"{ratio:.2f}x ({mine:.4g} to {other:.4g} tokens/s)", f"at least {limit}x", ratio >= limit)
