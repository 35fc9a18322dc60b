"""Draws screenshots/*.svg and *.png: the real app on the demo model, compiled on the spot.

`python -m scripts.screenshots [--size 100x30] [--out screenshots]`. PNGs need resvg_py and a
monospaced font on the machine; without either only the SVGs are written, and a line says so.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

from textual.pilot import Pilot

from compiler.cli.main import main as compile_cli
from compiler.demo import DEMO_MODEL_ID
from hyperdex_tui.app import HyperDexApp
from scripts.tour import STOPS, Stop

FONTS = (
    ("Fira Code", "FiraCode-Regular.ttf", "FiraCode-Bold.ttf"),
    ("DejaVu Sans Mono", "DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"),
    ("Liberation Mono", "LiberationMono-Regular.ttf", "LiberationMono-Bold.ttf"),
)
"""Family name, regular and bold file."""

FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts", "/Library/Fonts")
PATIENCE_S = 120.0


async def until(pilot: Pilot[None], done: Callable[[], bool], name: str) -> None:
    """Wait for something a child process brings about."""
    for _ in range(int(PATIENCE_S / 0.1)):
        if done():
            break
        await pilot.pause(0.1)
    else:
        raise SystemExit(f"screenshots: {name} did not come in time")
    await pilot.pause(0.3)


async def go(pilot: Pilot[None], stop: Stop) -> None:
    """Go to one stop of the tour."""
    for key in stop.keys:
        await pilot.press(key)
        await pilot.pause(0.05)
    await until(pilot, lambda: all(text in shown(pilot) for text in stop.shows), stop.name)


def shown(pilot: Pilot[None]) -> str:
    """The screen as text."""
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


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

    def shoot(pilot: Pilot[None], name: str) -> None:
        wrong = [row.strip() for row in shown(pilot).splitlines() if "✗" in row]
        if wrong:
            raise SystemExit(f"screenshots: {name} shows an error: {wrong[0]}")
        path = out / f"{name}.svg"
        path.write_text(stable(app.export_screenshot(title="hyperdex-tui")), encoding="utf-8")
        written.append(path)

    async with app.run_test(size=size) as pilot:
        for stop in STOPS:
            await go(pilot, stop)
            shoot(pilot, stop.name)
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
