"""Laws of growing text: pieces add up, characters stay whole, stop strings never show."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from compiler.cli.continuation import Continuation


def _decode(token_ids: Sequence[int]) -> str:
    return bytes(token_ids).decode("utf-8", errors="replace")


def _run(text: bytes, stop: Sequence[str] = ()) -> tuple[list[str], Continuation]:
    growing = Continuation(_decode, stop)
    return [*(growing.push(byte) for byte in text), growing.finish()], growing


@given(st.text(max_size=40))
def test_pieces_add_up_to_the_text_and_hold_whole_characters(text: str) -> None:
    pieces, growing = _run(text.encode())
    assert "".join(pieces) == text == growing.shown
    if "\ufffd" not in text:
        assert all("\ufffd" not in piece for piece in pieces)


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3))
def test_text_ends_before_the_first_stop_string(text: str, stop: list[str]) -> None:
    pieces, growing = _run(text.encode(), stop)
    shown = "".join(pieces)
    assert not any(each in shown for each in stop)
    ends = [at for at in (text.find(each) for each in stop) if at >= 0]
    assert growing.stopped == bool(ends)
    if not ends:
        assert shown == text
    else:
        assert text.startswith(shown)


def test_a_stop_string_across_tokens_is_never_shown() -> None:
    pieces, growing = _run(b"one END two", ["END"])
    assert pieces[:7] == ["o", "n", "e", " ", "", "", ""]
    assert growing.shown == "one "
    assert growing.stopped


def test_an_unfinished_character_is_told_at_the_end() -> None:
    pieces, _ = _run("é".encode()[:1])
    assert pieces == ["", "\ufffd"]
