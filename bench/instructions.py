"""Phase 4 of the OPT-66B shape on eight devices: time and memory, without weights."""

from __future__ import annotations

from bench.measure import Row, median, run_child

ROUNDS = 3
TIME_LIMIT_S = 5.0
MEMORY_LIMIT_BYTES = 500_000_000

_CHILD = """
import time
from bench.shapes import OPT_66B
from compiler.isa.encode import encode_program
from compiler.planning import CompileOptions, make_plan, make_program
config = OPT_66B.config()
began = time.perf_counter()
options = CompileOptions(num_devices=8, target="lpu-3280")
plan = make_plan(config, options)
program = make_program(plan, options)
words = encode_program(program.instructions)
print(time.perf_counter() - began)
"""


def measure() -> list[Row]:
    """Seconds from config.json to instruction words (imports left out) and the child's anonymous memory."""
    children = [run_child(["-c", _CHILD]) for _ in range(ROUNDS)]
    seconds = median([float(child.stdout) for child in children])
    peak = max(child.peak_bytes for child in children)
    return [
        Row(
            "OPT-66B shape: phase 4 with its plan, 8 x lpu-3280",
            f"{seconds:.2f} s",
            f"{TIME_LIMIT_S:.0f} s",
            seconds < TIME_LIMIT_S,
        ),
        Row(
            "OPT-66B shape: anonymous memory of phase 4",
            f"{peak / 1e6:.0f} MB",
            f"{MEMORY_LIMIT_BYTES / 1e6:.0f} MB",
            peak < MEMORY_LIMIT_BYTES,
        ),
    ]
