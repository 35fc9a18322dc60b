"""End-of-text tokens: what may be declared where, and that a bad declaration is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compiler.checkpoint.config import CheckpointConfig
from compiler.checkpoint.special_tokens import check_special_tokens, stop_tokens
from compiler.errors import CheckpointError, HyperDexError, UnsupportedModelError


@pytest.mark.parametrize(("value", "found"), [(None, ()), (2, (2,)), ([2, 3], (2, 3)), ([], ())])
def test_one_or_many_or_none_end_a_text(tmp_path: Path, value: Any, found: tuple[int, ...]) -> None:
    check_special_tokens(CheckpointConfig({"eos_token_id": value}))
    assert stop_tokens(tmp_path, {"eos_token_id": value}, 10).ids == found


def test_ids_beyond_the_vocabulary_end_nothing(tmp_path: Path) -> None:
    assert stop_tokens(tmp_path, {"eos_token_id": [3, 10, -1]}, 10) == ((3,), (10, -1), "config.json")


@pytest.mark.parametrize(
    ("content", "found"), [('{"eos_token_id": [7]}', (7,)), ("{}", (2,)), ('{"eos_token_id": null}', (2,))]
)
def test_generation_config_decides_where_it_says_something(tmp_path: Path, content: str, found: tuple[int]) -> None:
    (tmp_path / "generation_config.json").write_text(content)
    assert stop_tokens(tmp_path, {"eos_token_id": 2}, 10).ids == found


@pytest.mark.parametrize("name", ["eos_token_id", "bos_token_id"])
@pytest.mark.parametrize(("value", "shown"), [("x", '"x"'), ("2", '"2"'), (True, "true"), ([1, None], "[1, null]")])
def test_a_config_whose_special_tokens_are_no_ids_is_refused(name: str, value: Any, shown: str) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        check_special_tokens(CheckpointConfig({name: value}))
    assert f"config.json: {name} is {shown}; it must be an integer or a list of integers" in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "[" * 100_000, '{"a": "' + "x" * (1 << 20) + '"}'])
def test_a_bad_generation_config_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "generation_config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"generation_config\.json .*; repair or remove it"):
        stop_tokens(tmp_path, {}, 10)


@pytest.mark.parametrize(("ids", "said"), [('"x"', "an integer"), (str([1] * 33), "at most 32")])
def test_ids_that_cannot_be_used_name_their_file(tmp_path: Path, ids: str, said: str) -> None:
    (tmp_path / "generation_config.json").write_text(f'{{"eos_token_id": {ids}}}')
    with pytest.raises(HyperDexError, match=f"^generation_config.json: .*{said}"):
        stop_tokens(tmp_path, {"eos_token_id": 2}, 10)
