"""Generated tokens, one a row: where it stands, how probable it was, and what else the model thought of."""

from __future__ import annotations

from rich.cells import cell_len

from compiler.debug_records import Token
from compiler.quantity import percent_text
from compiler.sanitize import printable
from hyperdex_tui.formatting import cut, pad, pad_left, share_bar
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.painted import Line, Span, line, line_width
from hyperdex_tui.widgets.row_list import RowList

_TEXT_CELLS = 16


class TokenList(RowList):
    """The tokens of one answer; while the cursor is on the last one, it stays on the last one."""

    def __init__(self) -> None:
        super().__init__(id="token-list")
        self._tokens: list[Token] = []

    def begin(self) -> None:
        """Another answer."""
        self._tokens = []
        self.rows_changed(0)

    def add(self, token: Token) -> None:
        """One more token; shown with the next `catch_up`."""
        self._tokens.append(token)

    def catch_up(self) -> None:
        """Show what was added."""
        shown = self.cursor
        was_last = shown >= len(self._tokens) - 1 or not self.has_focus
        self.rows_changed(len(self._tokens) - 1 if was_last else None, same_rows=True)

    def row_count(self) -> int:
        """Tokens."""
        return len(self._tokens)

    def columns(self) -> tuple[str, ...]:
        """For copying and export."""
        return ("index", "position", "token_id", "text", "probability", "rank", "candidates")

    def cells(self, index: int) -> tuple[Cell, ...]:
        """One token."""
        token = self._tokens[index]
        others = ", ".join(
            f"{shown_token(each.token_id, each.text)} {each.probability:.4g}" for each in token.candidates
        )
        text = own_text(token)
        return token.index, token.position, token.token_id, text, token.probability, token.rank, others

    def heading(self, width: int) -> Line:
        """Column titles."""
        title = f"  {pad_left('at', 5)} {pad('token', _TEXT_CELLS)}{'probability':17} the most probable, › chosen"
        return line((pad(title, width), "head"))

    def row(self, index: int, width: int) -> Line:
        """One token."""
        return token_line(self._tokens[index], width)

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """What will stand here."""
        return (line(("  Every token with its probability and its rivals; Tab comes here.", "dim")),)


def shown_token(token_id: int, text: str) -> str:
    """A token for people: its text where it has one."""
    return repr(text) if text else f"#{token_id}"


def own_text(token: Token) -> str:
    """The text of a token itself, which may differ from what became certain with it."""
    return next((each.text for each in token.candidates if each.token_id == token.token_id), token.text)


def token_line(token: Token, width: int) -> Line:
    """A token, its probability, and as many candidates as fit, the chosen one marked."""
    spans: list[Span] = [
        (pad_left(str(token.position), 5) + " ", "dim"),
        (pad(shown_token(token.token_id, own_text(token)), _TEXT_CELLS), "strong"),
        (pad_left(percent_text(token.probability), 7) + " ", "text"),
        (share_bar(token.probability), "good"),
        (" ", "text"),
    ]
    for each in token.candidates:
        is_chosen = each.token_id == token.token_id
        name = cut(shown_token(each.token_id, each.text), _TEXT_CELLS)
        shown = f"{'›' if is_chosen else ' '}{name} {percent_text(each.probability)}  "
        if line_width(spans) + cell_len(printable(shown.rstrip())) > width:
            break
        spans.append((shown, "accent" if is_chosen else "text"))
    return tuple(spans)
