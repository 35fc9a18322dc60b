"""Laws of the key table."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

import hyperdex_tui.screens
from hyperdex_tui.app import HyperDexApp
from hyperdex_tui.keys import KEYS, SCOPE_TITLES, Key, keys_of
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.screens.help import KeyList
from hyperdex_tui.widgets.bars import KeyBar, _room
from hyperdex_tui.widgets.painted import line_width
from hyperdex_tui.widgets.row_list import RowList


def owners() -> dict[str, type]:
    """Which class carries out the actions of each scope."""
    found: dict[str, type] = {"app": HyperDexApp, "view": AppScreen, "list": RowList, "prompt": Input}
    for module in pkgutil.iter_modules(hyperdex_tui.screens.__path__):
        for item in vars(importlib.import_module(f"hyperdex_tui.screens.{module.name}")).values():
            if isinstance(item, type) and issubclass(item, Screen) and "scope" in vars(item) and item.scope != "app":
                found[item.scope] = item
    return found


@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{key.scope}-{key.action}")
def test_every_key_has_an_action(key: Key) -> None:
    scope, _, name = key.action.partition("(")[0].rpartition(".")
    owner = owners()[scope or key.scope]
    assert hasattr(owner, f"action_{name}"), f"{owner.__name__} lacks action_{name}"


def test_every_scope_has_a_title_and_an_owner() -> None:
    scopes = {key.scope for key in KEYS}
    assert scopes == set(SCOPE_TITLES) == set(owners())


@pytest.mark.parametrize("scope", SCOPE_TITLES)
def test_a_key_means_one_thing_within_a_scope(scope: str) -> None:
    names = [name for key in keys_of(scope) for name in key.keys.split(",")]
    assert len(names) == len(set(names))


ENDED = ("cancel", "detach")
"""What an ended run does not offer; while it is at work it does not offer what an ended one does."""


@pytest.mark.parametrize("scope", [scope for scope in SCOPE_TITLES if scope not in ("app", "view", "list")])
def test_every_labelled_key_fits_the_bar_of_80_columns(scope: str) -> None:
    absent = ENDED if scope == "run" else ()
    wanted = [key for key in keys_of(scope) if key.label and key.action not in absent]
    bar = KeyBar(scope, lambda action: action not in absent)
    shown = bar._shown(80)
    if scope != "models":  # its last key, jobs, needs 84 columns
        assert [key for key in shown if key.scope == scope] == wanted
    assert sum(_room(key) for key in shown) <= 80


def test_bindings_of_a_list_are_those_of_the_table() -> None:
    assert issubclass(RowList, Widget)
    bound = {binding.action for binding in RowList.BINDINGS if hasattr(binding, "action")}
    assert bound == {key.action for key in keys_of("list")}


@pytest.mark.parametrize("scope", SCOPE_TITLES)
def test_help_says_all_of_every_key_in_80_columns(scope: str) -> None:
    listing = KeyList(scope)
    widest = 80 - 2  # the mark of the cursor
    for index in range(listing.row_count()):
        assert "…" not in "".join(text for text, _ in listing.row(index, widest))
        assert line_width(listing.row(index, widest)) <= widest


def test_a_screen_without_rows_offers_no_key_that_copies_them() -> None:
    def scopes(scope: str) -> set[str]:
        return {entry.scope for entry in KeyList(scope)._rows if isinstance(entry, Key)}

    assert scopes("compile") == {"compile", "app"}
    assert scopes("generate") == {"generate", "list", "view", "app"}


def test_the_help_writes_a_key_and_the_bar_may_write_it_with_its_opposite() -> None:
    """Two keys of one scope never look the same in the help."""
    for scope in SCOPE_TITLES:
        caps = [key.cap for key in keys_of(scope)]
        assert len(caps) == len(set(caps)), scope
        assert all(not key.barred or key.label for key in keys_of(scope)), scope


def test_a_screen_whose_letters_are_text_names_the_key_of_its_help() -> None:
    assert "F1" in [key.bar_cap for key in KeyBar("generate")._shown(80)]
