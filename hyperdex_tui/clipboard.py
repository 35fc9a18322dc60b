"""Text to the user's clipboard, also over SSH and from inside tmux or GNU screen.

The terminal is asked by OSC 52, which no terminal answers: what is said
afterwards is what was done, not what the clipboard holds. tmux ignores OSC 52
from programs unless it is configured otherwise, so its own command is used;
GNU screen hands on what is wrapped for it, in pieces.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from compiler.sanitize import printable

LIMIT_BYTES = 74_994
"""Longest text: its sequence is what hterm, the most frugal of the common terminals, takes (100,000 bytes)."""

_SCREEN_PIECE = 512
"""Bytes in one wrapped piece: GNU screen 4 drops a string above 768."""

_TMUX_PATIENCE_S = 3.0

_TERMINAL = "sent to the terminal's clipboard"
_TMUX_TERMINAL = "sent to tmux's buffer and its terminal's clipboard"
_TMUX_ONLY = "sent to tmux's buffer, prefix ] pastes; its terminal takes no clipboard"


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of a text: whether it was sent, and one line that says where or why not."""

    sent: bool
    message: str


def clean(text: str) -> str:
    """`text` as it may be pasted into a shell: newlines and tabs stay, nothing else that a terminal acts on."""
    return printable(text, keep="\n\t")


def terminal_sequence(text: str, environ: Mapping[str, str]) -> str:
    """What to write to the terminal for `text` to become its clipboard."""
    code = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    sequence = f"\x1b]52;c;{code}\a"
    name = environ.get("TERM", "")
    if environ.get("STY") or name.startswith("screen"):
        # a plain sequence is for tmux under the same TERM, on the near end of an SSH connection; screen drops it
        pieces = (sequence[at : at + _SCREEN_PIECE] for at in range(0, len(sequence), _SCREEN_PIECE))
        return sequence + "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    if name.startswith("tmux"):
        return sequence + "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return sequence


async def copy(text: str, write: Callable[[str], object], environ: Mapping[str, str]) -> Copied:
    """Send `text` to the clipboard by the way that the surroundings allow.

    Args:
        text: what to copy; it is made printable first.
        write: writes to the terminal.
        environ: the process's environment.
    """
    shown = clean(text)
    size = len(shown.encode("utf-8", "replace"))
    if size > LIMIT_BYTES:
        return Copied(False, f"{size:,} bytes are too many for a clipboard ({LIMIT_BYTES:,}): e writes a file")
    if environ.get("TMUX"):
        status, _ = await _tmux(shown, "load-buffer", "-w", "-")
        if status == 0:
            _, features = await _tmux("", "display-message", "-p", "#{client_termfeatures}")
            return Copied(True, _TMUX_TERMINAL if "clipboard" in features.split(",") else _TMUX_ONLY)
        if (await _tmux(shown, "load-buffer", "-"))[0] == 0:  # before tmux 3.2
            write(terminal_sequence(shown, environ))
            return Copied(True, "sent to tmux's buffer, prefix ] pastes, and to its terminal")
    write(terminal_sequence(shown, environ))
    return Copied(True, _TERMINAL)


async def _tmux(text: str, *arguments: str) -> tuple[int, str]:
    """Exit status and output of tmux fed with `text`; -1 when it cannot be run."""
    try:
        process = await asyncio.create_subprocess_exec(
            "tmux",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return -1, ""
    try:
        output, _ = await asyncio.wait_for(process.communicate(text.encode("utf-8", "replace")), _TMUX_PATIENCE_S)
    except (asyncio.TimeoutError, ConnectionError):
        return -1, ""
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode or 0, output.decode("utf-8", "replace").strip()
