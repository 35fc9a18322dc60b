"""Estimates and the clock: how fast they are, and how near to what was published."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from bench.measure import Row, run_child
from bench.shapes import OPT_66B
from compiler.estimate import estimate
from compiler.planning import CompileOptions

ROUNDS = 3
ESTIMATE_LIMIT_S = 1.0
RATE_LIMIT_PER_S = 300_000
DEVIATION_LIMIT = 0.02

_PUBLISHED = (
    ("OPT-1.3B", 1, 1.252, (2048, 32, 24)),
    ("OPT-30B", 1, 20.28, (7168, 56, 48)),
    ("OPT-6.7B", 2, 2.586, (4096, 32, 32)),
)
"""Milliseconds per token on lpu-3280, 32 tokens in and 2016 out (LPU paper, arXiv 2408.07326)."""

_CLOCK = """
import time
from bench.shapes import OPT_66B
from compiler.emulator.timing import Clock
from compiler.planning import CompileOptions, make_plan, make_program
options = CompileOptions(num_devices=2, target="lpu-3280", max_length=2048)
plan = make_plan({**OPT_66B.config(), "num_hidden_layers": 16}, options)
clock = Clock(make_program(plan, options).instructions, plan.rules)
count = len(clock.token(0, slices=True).slices)
times = []
for position in range(100, 2000, 100):
    began = time.perf_counter()
    clock.token(position)
    times.append(time.perf_counter() - began)
print(count / min(times))
"""

_ESTIMATE = """
import resource, sys
from compiler.__main__ import main
sys.argv = ["hyperdex", "estimate", sys.argv[1], "--target", "all", "--num-device", "1,2,4,8", "--json"]
assert main() == 0
used = resource.getrusage(resource.RUSAGE_SELF)
print("\\0", used.ru_utime + used.ru_stime)
"""


def measure() -> list[Row]:
    """CPU of a cold estimate, timed instructions per second (the best of each), and the published latencies."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.json")
        path.write_text(json.dumps(OPT_66B.config()), encoding="utf-8")
        outputs = [run_child(["-c", _ESTIMATE, str(path)]).stdout for _ in range(ROUNDS)]
    seconds = min(float(output.rsplit("\0", 1)[1]) for output in outputs)
    rate = max(float(run_child(["-c", _CLOCK]).stdout) for _ in range(ROUNDS))
    return [
        Row(
            "OPT-66B: estimate of 16 builds (4 targets x N = 1, 2, 4, 8), CPU of the process from its start",
            f"{seconds:.2f} s",
            f"{ESTIMATE_LIMIT_S:.0f} s",
            seconds < ESTIMATE_LIMIT_S,
        ),
        Row(
            "clock: timed instructions", f"{rate:,.0f}/s", f"at least {RATE_LIMIT_PER_S:,}/s", rate >= RATE_LIMIT_PER_S
        ),
        *(_published(*point) for point in _PUBLISHED),
    ]


def _published(name: str, num_devices: int, ms: float, shape: tuple[int, int, int]) -> Row:
    found = estimate(_config(*shape), CompileOptions(num_devices=num_devices, target="lpu-3280"), 32, 2016)
    assert found.ms_per_token is not None
    off = found.ms_per_token / ms - 1
    return Row(
        f"{name}, {num_devices} x lpu-3280: estimated, published {ms} ms/token (calibrated on it)",
        f"{found.ms_per_token:.3f} ms/token ({100 * off:+.2f} %)",
        f"within {100 * DEVIATION_LIMIT:.0f} %",
        abs(off) <= DEVIATION_LIMIT,
    )


def _config(hidden: int, heads: int, layers: int) -> dict[str, Any]:
    return {
        "architectures": ["OPTForCausalLM"],
        "hidden_size": hidden,
        "vocab_size": 50272,
        "ffn_dim": 4 * hidden,
        "max_position_embeddings": 2048,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
    }
