"""Fields of config.json: what is read is of its type and in its range, and anything else is one line that names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.checkpoint.config import CheckpointConfig, load_config
from compiler.checkpoint.untrusted_json import MAX_JSON_BYTES
from compiler.errors import CheckpointError, UnsupportedModelError

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.text(max_size=3), SCALARS, max_size=3))


def read(value: object) -> CheckpointConfig:
    """A config as its file gives it."""
    return CheckpointConfig(json.loads(json.dumps({"field": value})))


@given(VALUES)
def test_an_integer_is_one_in_its_range_or_refused(value: object) -> None:
    try:
        found = read(value).integer("field", 1, 100)
    except UnsupportedModelError as error:
        assert "field" in str(error)
    else:
        assert type(found) is int and 1 <= found <= 100


@given(VALUES)
def test_a_number_is_one_in_its_range_or_refused(value: object) -> None:
    try:
        found = read(value).number("field", 0.5, 1e6)
    except UnsupportedModelError as error:
        assert "field" in str(error)
    else:
        assert type(found) is float and 0.5 <= found <= 1e6


@given(VALUES)
def test_integers_are_a_list_of_them_or_refused(value: object) -> None:
    try:
        found = read(value).integers("field")
    except UnsupportedModelError as error:
        assert "field" in str(error)
    else:
        assert all(type(each) is int for each in found)


@pytest.mark.parametrize(
    "ask",
    [
        lambda config: config.integer("field"),
        lambda config: config.number("field"),
        lambda config: config.number("field", 0.0, 1e300),
    ],
)
@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_an_integer_beyond_every_float_is_refused(ask: Callable[[CheckpointConfig], Any], value: int) -> None:
    with pytest.raises(UnsupportedModelError, match="field is"):
        ask(read(value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(UnsupportedModelError, match="field is"):
        read(value).number("field")


def test_a_missing_field_is_its_default_or_named() -> None:
    assert read(None).integer("field", default=7) == 7
    with pytest.raises(UnsupportedModelError, match="field is missing"):
        read(None).integer("field")


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 100_000])
def test_a_config_that_is_no_object_is_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"^config\.json "):
        load_config(tmp_path)


def test_a_config_that_is_missing_and_one_that_is_too_large_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"{tmp_path.name} holds no config\.json; download"):
        load_config(tmp_path)
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(CheckpointError, match=rf"config\.json is larger than {MAX_JSON_BYTES} bytes"):
        load_config(tmp_path)
