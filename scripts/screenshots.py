"""Draws screenshots/*.svg and *.png: the real app on the demo model, compiled on the spot.

`python scripts/screenshots.py [--size 100x30] [--out screenshots]`. PNGs need resvg_py and a
monospaced font on the machine; without either only the SVGs are written, and a line says so.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import gettempdir

from textual.pilot import Pilot

from compiler.cli.main import main as compile_cli
from compiler.demo import DEMO_MODEL_ID, DEMO_PROMPTS
from hyperdex_tui.app import HyperDexApp
from hyperdex_tui.screens.generate import GenerateScreen
from hyperdex_tui.screens.run import RunScreen

FONTS = (
    ("Fira Code", "FiraCode-Regular.ttf", "FiraCode-Bold.ttf"),
    ("DejaVu Sans Mono", "DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"),
    ("Liberation Mono", "LiberationMono-Regular.ttf", "LiberationMono-Bold.ttf"),
)
"""Family name, regular and bold file."""

FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts", "/Library/Fonts")
PATIENCE_S = 60.0

Step = Callable[[Pilot[None]], Awaitable[None]]


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys and let the screen settle."""
    await pilot.press(*keys)
    await pilot.app.workers.wait_for_complete()
    await pilot.pause(0.3)


async def until(pilot: Pilot[None], done: Callable[[], bool]) -> None:
    """Wait for something a child process brings about."""
    for _ in range(int(PATIENCE_S / 0.1)):
        if done():
            break
        await pilot.pause(0.1)
    else:
        raise SystemExit("screenshots: the app did not get there in time")
    await pilot.pause(0.3)


def _compile_ended(pilot: Pilot[None]) -> bool:
    screen = pilot.app.screen
    return isinstance(screen, RunScreen) and screen.progress.ended


async def tour(pilot: Pilot[None], shoot: Callable[[str], None]) -> None:
    """Every screen in the order in which a person meets them."""
    await press(pilot)
    shoot("models")
    await press(pilot, "c", "right")
    shoot("compile")
    await pilot.press("enter")
    await until(pilot, lambda: _compile_ended(pilot))
    shoot("run")
    await press(pilot, "i", "right_square_bracket", "j", "j", "j")
    shoot("instructions")
    await press(pilot, "enter")
    shoot("memory")
    await press(pilot, "p")
    await pilot.press(*(_key(char) for char in DEMO_PROMPTS[2][0]), "enter")
    screen = pilot.app.screen
    assert isinstance(screen, GenerateScreen)
    await until(pilot, lambda: screen.idle)
    shoot("generate")
    await press(pilot, "escape", "question_mark")
    shoot("help")


def _key(char: str) -> str:
    names = {" ": "space", ".": "full_stop", "?": "question_mark", "+": "plus", "=": "equals_sign", ",": "comma"}
    return names.get(char, char)


def stable(svg: str) -> str:
    """Without the random class prefix and without fonts from elsewhere: an unchanged screen gives an unchanged file."""
    svg = re.sub(r"terminal-\d+", "terminal", svg)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    families = ", ".join(family for family, *_ in FONTS)
    return svg.replace("Fira Code, monospace", f"{families}, monospace")


def find_font() -> tuple[str, list[Path]] | None:
    """Family and files of a monospaced font of this machine."""
    found: dict[str, Path] = {}
    for folder in FONT_FOLDERS:
        for path in Path(folder).expanduser().rglob("*.ttf"):
            found.setdefault(path.name, path)
    for family, *names in FONTS:
        if names[0] in found:
            return family, [found[name] for name in names if name in found]
    return None


def write_png(svg: Path, family: str, files: list[Path]) -> None:
    """Rasterise one SVG with the given font."""
    import resvg_py

    text = re.sub(r"font-family: [^;]+;", f"font-family: '{family}';", svg.read_text(encoding="utf-8"))
    png = resvg_py.svg_to_bytes(svg_string=text, font_files=[str(file) for file in files], skip_system_fonts=True)
    svg.with_suffix(".png").write_bytes(bytes(png))


async def draw(out: Path, size: tuple[int, int], prefix: Path) -> list[Path]:
    """Run the app headless and write one SVG per stop of the tour."""
    app = HyperDexApp(prefix, state_file=prefix / "state.json")
    written: list[Path] = []

    def shoot(name: str) -> None:
        strips = app.screen._compositor.render_strips()
        wrong = [strip.text.strip() for strip in strips if "✗" in strip.text]
        if wrong:
            raise SystemExit(f"screenshots: {name} shows an error: {wrong[0]}")
        path = out / f"{name}.svg"
        path.write_text(stable(app.export_screenshot(title="hyperdex-tui")), encoding="utf-8")
        written.append(path)

    async with app.run_test(size=size) as pilot:
        await tour(pilot, shoot)
    return written


def main() -> int:
    """Draw everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="100x30", help="columns x rows")
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    options = parser.parse_args()
    columns, rows = (int(part) for part in options.size.split("x"))
    options.out.mkdir(parents=True, exist_ok=True)
    prefix = Path(gettempdir()) / "hyperdex-tour" / "models"  # shown on the first screen, so always the same
    shutil.rmtree(prefix, ignore_errors=True)
    prefix.mkdir(parents=True)
    if compile_cli(["compile", DEMO_MODEL_ID, "--prefix", str(prefix)]) != 0:
        return 1
    written = asyncio.run(draw(options.out, (columns, rows), prefix))
    shutil.rmtree(prefix.parent)
    font = find_font()
    if font is None:
        print("screenshots: no monospaced font found, so no PNG; on Debian: fonts-dejavu-core", file=sys.stderr)
    for path in written:
        if font is not None:
            write_png(path, *font)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
