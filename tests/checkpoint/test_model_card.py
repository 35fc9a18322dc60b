"""Licence and access from a model card, whoever wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.checkpoint.model_card import Card, parse_card, read_card
from compiler.demo import demo_folder


@pytest.mark.parametrize(
    ("text", "card"),
    [
        ("---\nlicense: mit\n---\n# x", Card("mit")),
        ("---\nlanguage: en\nlicense: 'apache-2.0' # yes\n---", Card("apache-2.0")),
        ("---\nlicense:\n- llama3.2\nlanguage:\n- en\n---", Card("llama3.2")),
        ("---\nlicense: other\nlicense_name: own-terms\n---", Card("own-terms")),
        ("---\nlicense: gemma\nextra_gated_heading: Access\n---", Card("gemma", True)),
        ("# no front matter\nlicense: mit", Card()),
        ("---\ntags: [x]\n---\nlicense: mit", Card()),
        ("\ufeff---\r\nlicense: mit\r\n---\r\n", Card("mit")),
        ("", Card()),
        ("---\nlicense: \x1b[31mred\u202e\n---", Card("\\x1b[31mred\\u202e")),
    ],
)
def test_a_card_is_read_as_its_writer_meant_it(text: str, card: Card) -> None:
    assert parse_card(text) == card


@given(st.text())
def test_no_card_is_a_failure(text: str) -> None:
    card = parse_card("---\nlicense: " + text)
    assert len(card.licence) <= 60


def test_the_demo_has_a_licence() -> None:
    assert read_card(demo_folder()) == Card("apache-2.0")


def test_a_folder_without_a_card_is_fine(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()
    assert read_card(tmp_path) == read_card(tmp_path / "none") == Card()
