"""Painted lines: text with a role per span, and a widget that paints them.

Everything on screen goes through here, so that untrusted text is escaped in
one place and never read as markup, and so that colour follows the theme.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from compiler.sanitize import printable
from hyperdex_tui.formatting import cut, wrap
from hyperdex_tui.themes import style_of

_PROBLEM_ROWS = 4

COMPILE_AGAIN = "Esc goes back; c on the model compiles it again."
"""What to do about a damaged build."""

Span = tuple[str, str]
"""Text and role, one of `themes.LOOKS`."""

Line = Sequence[Span]


def line(*parts: str | Span) -> Line:
    """Spans from bare strings (role "text") and (text, role) pairs."""
    return tuple((part, "text") if isinstance(part, str) else part for part in parts)


def problem_lines(problem: str, width: int, advice: str) -> tuple[Line, ...]:
    """What a widget says that cannot show what it is for: why, on as many rows as it takes, and what to do."""
    why = wrap(f"✗ {printable(problem)}", max(20, width - 4), _PROBLEM_ROWS)
    return (*(line((f"  {part}", "bad")) for part in why), line((f"  {advice}", "dim")))


def line_width(spans: Line) -> int:
    """Cells a line takes, once its text is escaped."""
    return sum(cell_len(printable(text)) for text, _ in spans)


def _same_ground(first: Style, second: Style) -> bool:
    """Whether a space looks alike in both."""
    return first.bgcolor == second.bgcolor and not (
        first.underline or second.underline or first.reverse or second.reverse
    )


class Painted(Widget):
    """A widget that draws `Line`s; the base of every list and pane."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        self._styles: dict[str, Style] = {}
        super().__init__(id=id, classes=classes)

    def style_of(self, role: str) -> Style:
        """The rich style of a role under the current theme."""
        style = self._styles.get(role)
        if style is None:
            look = style_of(role, self.app.theme_variables)
            style = self._styles[role] = self.rich_style + look
        return style

    def notify_style_update(self) -> None:
        """Another theme, or another state that the theme tells apart."""
        self._styles.clear()
        super().notify_style_update()

    def paint(self, spans: Line, width: int, over: str = "") -> Strip:
        """One row of exactly `width` cells; `over` is a role laid over every span, e.g. "cursor"."""
        base = self.style_of(over or "text")
        runs: list[tuple[str, Style]] = []
        room = width
        for text, role in (*spans, (" " * width, "text")):
            if text.isascii() and text.isprintable() and (len(text) <= room or text.isspace()):
                shown, taken = text[:room], min(len(text), room)
            else:
                shown = cut(printable(text), room)
                taken = cell_len(shown)
            if not shown:
                continue
            style = self.style_of(role)
            if over and not role.startswith(("kind-", "layer-")):  # a chip keeps its ground: its letter is black
                style = Style.combine((style, Style(bgcolor=base.bgcolor, bold=base.bold, reverse=base.reverse)))
            if runs and (runs[-1][1] == style or (shown.isspace() and _same_ground(runs[-1][1], style))):
                runs[-1] = (runs[-1][0] + shown, runs[-1][1])  # every change of style costs bytes
            elif runs and runs[-1][0].isspace() and _same_ground(runs[-1][1], style):
                runs[-1] = (runs[-1][0] + shown, style)
            else:
                runs.append((shown, style))
            room -= taken
        return Strip([Segment(shown, style) for shown, style in runs], width)


class Pane(Painted):
    """A fixed block of lines; what does not fit is cut, never wrapped."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: tuple[Line, ...] = ()

    def show(self, lines: Iterable[Line]) -> None:
        """Replace the content; repaints only when it changed."""
        shown = tuple(tuple(spans) for spans in lines)
        if shown == self._lines:
            return
        changed = [
            row
            for row in range(max(len(shown), len(self._lines)))
            if shown[row : row + 1] != self._lines[row : row + 1]
        ]
        self._lines = shown
        width = self.size.width
        self.refresh(*(Region(0, row, width, 1) for row in changed if row < self.size.height))

    @property
    def plain(self) -> str:
        """The content as text, for tests and copying."""
        return "\n".join("".join(text for text, _ in spans).rstrip() for spans in self._lines)

    def render_line(self, y: int) -> Strip:
        """One row of the content."""
        spans = self._lines[y] if y < len(self._lines) else ()
        return self.paint(spans, self.size.width)
