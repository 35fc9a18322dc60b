"""The demo: the bundled model through all phases and the emulator, in plain lines.

What `make run` shows without a terminal: every continuation is compared with
what the model was taught, so a person sees at once whether the machine works.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from compiler.sanitize import one_line

if TYPE_CHECKING:
    from compiler.cli.tokenizer import Tokenizer
    from compiler.emulator.session import Session
    from compiler.workspace import Workspace

NUM_DEVICES = 2
TARGET = "u55c"
MAX_NEW_TOKENS = 48


def run_demo(prefix: Path | None = None) -> int:
    """Compile and run the bundled model and compare every continuation.

    Args:
        prefix: where to put it; None takes the default prefix, or a temporary
            folder where that cannot be written.

    Returns:
        0 when all are right, 1 when one is wrong, else the code of a failure that has been told on stderr in one line.
    """
    from compiler.cli.main import guarded

    return guarded(lambda: _run_in(prefix))


def _run_in(prefix: Path | None) -> int:
    from compiler.workspace import Workspace, default_prefix

    chosen = prefix if prefix is not None else default_prefix()
    if prefix is not None or _can_write(chosen):
        return _run(Workspace(chosen))
    with TemporaryDirectory(prefix="hyperdex-") as folder:
        return _run(Workspace(Path(folder)))


def _can_write(path: Path) -> bool:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(path, os.W_OK | os.X_OK)


def _run(workspace: Workspace) -> int:
    from compiler.cli.generate import open_session
    from compiler.cli.narration import PlainNarrator
    from compiler.cli.tokenizer import Tokenizer
    from compiler.demo import DEMO_MODEL_ID, DEMO_PROMPTS, install_demo
    from compiler.pipeline import CompileOptions, compile_model
    from compiler.workspace import lock

    narrator = PlainNarrator(sys.stdout)
    folder = workspace.model(DEMO_MODEL_ID)
    narrator.info(f"{DEMO_MODEL_ID}, the bundled model, on {NUM_DEVICES} {TARGET} devices, in {folder.path}")
    with lock(folder):
        install_demo(folder.ckpt)
    options = CompileOptions(num_devices=NUM_DEVICES, target=TARGET, offline=True)
    build = compile_model(workspace, DEMO_MODEL_ID, options, narrator)

    narrator.say(f"** Emulator : {DEMO_MODEL_ID}, build {build} **")
    session = open_session(folder.param(build), folder.inst(build))
    tokenizer = Tokenizer(folder.ckpt)
    right = 0
    for prompt, expected in DEMO_PROMPTS:
        found, tokens, seconds = _continue(session, tokenizer, prompt)
        is_right = found == expected
        right += is_right
        narrator.say(f"[{'right' if is_right else 'WRONG'}] {prompt} -> {one_line(found, 300)}")
        if not is_right:
            narrator.say(f"        expected: {expected}")
        narrator.info(f"{tokens} tokens in {seconds:.2f} s (measured on this host, not the LPU's speed)")
    narrator.info(f"{right} of {len(DEMO_PROMPTS)} continuations are right")
    return 0 if right == len(DEMO_PROMPTS) else 1


def _continue(session: Session, tokenizer: Tokenizer, prompt: str) -> tuple[str, int, float]:
    """Greedy continuation, number of its tokens, and seconds it took."""
    from compiler.cli.continuation import Continuation, stream
    from compiler.emulator.session import GREEDY

    began = time.perf_counter()
    text = Continuation(tokenizer.decode)
    for _ in stream(session, tokenizer.encode(prompt), MAX_NEW_TOKENS, GREEDY, text):
        pass
    return text.shown, len(text.token_ids), time.perf_counter() - began
