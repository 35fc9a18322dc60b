"""A walk through every screen on the demo model: in a real tmux at several sizes, as plain text.

`python -m scripts.tour [--size 80x24 --size 200x50] [--term screen-256color] [--no-color] [--out FOLDER]`. Ends with an
error when a screen does not show what it should, or does not come. `scripts/screenshots.py` takes its pictures at the
same stops.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from compiler.cli.main import main as compile_cli
from compiler.demo import DEMO_MODEL_ID, DEMO_PROMPTS

PATIENCE_S = 120.0
_POLL_S = 0.1
_ESCAPE_S = 0.4
"""Rest after Esc: what follows it at once would be one key with it."""

_LOOK_S = 0.4
"""Rest after what was waited for, so that the screen is painted whole."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One screen of the tour.

    Attributes:
        name: of its picture.
        keys: what leads there from the stop before, as Textual names keys.
        shows: texts that stand on the screen once it is there.
    """

    name: str
    keys: tuple[str, ...]
    shows: tuple[str, ...]


def _typed(text: str) -> tuple[str, ...]:
    names = {" ": "space", ".": "full_stop", "?": "question_mark", "+": "plus", "=": "equals_sign", ",": "comma"}
    return tuple(names.get(char, char) for char in text)


STOPS: tuple[Stop, ...] = (
    Stop("models", (), (DEMO_MODEL_ID, "u55c-1x", "licence")),
    Stop("fit", ("f",), ("lpu-819", "estimated from config.json")),
    Stop("compile", ("escape", "c", "right"), ("ms/token estimated", "makes build u55c-2x")),
    Stop("run", ("enter",), ("✓ compiled u55c-2x",)),
    Stop("instructions", ("i", "right_square_bracket", "j", "j", "j"), ("Instructions", "layer 0")),
    Stop("cells", ("Y",), ("Enter copy",)),
    Stop("compare", ("escape", "w", "j", "enter"), ("without fusion", "operations differ")),
    Stop("memory", ("escape", "m"), ("Memory map",)),
    Stop("treemap", ("t",), ("Treemap", "layer 3")),
    Stop("channels", ("escape", "c"), ("Channels",)),
    Stop("generate", ("escape", "p", *_typed(DEMO_PROMPTS[2][0]), "enter"), ("✓", "ms/token")),
    Stop("machine", ("ctrl+o",), ("Machine",)),
    Stop("timeline", ("T",), ("Timeline",)),
    Stop("jobs", ("escape",) * 7 + ("J",), ("Jobs", "u55c-2x")),
    Stop("help", ("question_mark",), ("Help › Jobs", "Esc")),
)
"""Every screen in the order in which a person meets them; a build for one device is there before."""


class Tmux:
    """The app in a tmux server of its own."""

    def __init__(self, folder: Path, prefix: Path, size: tuple[int, int], term: str, no_color: bool) -> None:
        self._server = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        home = Path(__file__).parent.parent
        words = ["env", "-u", "COLORTERM", "-u", "NO_COLOR"]
        words += [f"TERM={term}", f"PYTHONPATH={home}", f"XDG_STATE_HOME={folder / 'state'}"]
        words += ["NO_COLOR=1"] if no_color else []
        app = [sys.executable, "-m", "hyperdex_tui", "--prefix", str(prefix)]
        columns, rows = (str(each) for each in size)
        self._run("new-session", "-d", "-x", columns, "-y", rows, shlex.join([*words, *app]))

    def _run(self, *arguments: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "TMUX"}
        done = subprocess.run([*self._server, *arguments], capture_output=True, text=True, check=True, env=environment)
        return done.stdout

    def press(self, key: str) -> None:
        """Press one key."""
        self._run("send-keys", _TMUX_KEYS.get(key, key))
        time.sleep(_ESCAPE_S if key == "escape" else _POLL_S)

    def screen(self) -> str:
        """What stands on the screen."""
        return self._run("capture-pane", "-p")

    def close(self) -> None:
        """End the app and the server."""
        subprocess.run([*self._server, "kill-server"], capture_output=True, check=False)


_TMUX_KEYS = {
    "escape": "Escape",
    "enter": "Enter",
    "right": "Right",
    "space": "Space",
    "full_stop": ".",
    "question_mark": "?",
    "right_square_bracket": "]",
    "ctrl+o": "C-o",
    "plus": "+",
    "equals_sign": "=",
    "comma": ",",
}


def walk(tmux: Tmux, out: Path, label: str) -> list[str]:
    """Go to every stop and keep what it shows; what was wrong."""
    wrong = []
    for stop in STOPS:
        for key in stop.keys:
            tmux.press(key)
        end = time.monotonic() + PATIENCE_S
        while not all(text in tmux.screen() for text in stop.shows):
            if time.monotonic() > end:
                wrong.append(f"{label}: {stop.name} does not show {stop.shows}")
                break
            time.sleep(_POLL_S)
        time.sleep(_LOOK_S)
        shown = tmux.screen()
        (out / f"{stop.name}-{label}.txt").write_text(shown, encoding="utf-8")
        wrong += [f"{label}: {stop.name}: {line.strip()}" for line in shown.splitlines() if "✗" in line]
        if wrong:
            break
    return wrong


def main() -> int:
    """Walk at every size; 1 when a screen was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", action="append", help="columns x rows; repeatable")
    parser.add_argument("--term", default="screen-256color", help="TERM of the app")
    parser.add_argument("--no-color", action="store_true", help="set NO_COLOR")
    parser.add_argument("--out", type=Path, help="keep the screens as text files here")
    options = parser.parse_args()
    if shutil.which("tmux") is None:
        raise SystemExit("tour: tmux is not installed")
    wrong: list[str] = []
    with TemporaryDirectory(prefix="hyperdex-tour-", ignore_cleanup_errors=True) as name:  # the app may still be ending
        folder = Path(name)
        out = options.out or folder / "screens"
        out.mkdir(parents=True, exist_ok=True)
        for size in options.size or ["80x24", "200x50"]:
            prefix = folder / size / "models"
            prefix.mkdir(parents=True)
            if compile_cli(["compile", DEMO_MODEL_ID, "--prefix", str(prefix)]) != 0:
                return 1
            columns, rows = (int(part) for part in size.split("x"))
            tmux = Tmux(folder / size, prefix, (columns, rows), options.term, options.no_color)
            try:
                wrong += walk(tmux, out, size)
            finally:
                tmux.close()
            print(f"tour: {size} done, {len(STOPS)} screens")
    for text in wrong:
        print(f"tour: {text}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
