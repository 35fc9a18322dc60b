"""Laws of the tokenizer: transformers' own ids and text, no remote code, one line when it is damaged."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import pytest

from compiler.cli.tokenizer import Tokenizer
from compiler.demo import demo_folder
from compiler.errors import CheckpointError, UsageError
from tests.oracle.checkpoints import write_tokenizer

TEXTS = ("", "to be or not", "The owl lives in", "café\n", "  two  spaces ", "<s></s>")


def _configured(folder: Path, **tokenizer: str) -> Path:
    write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **tokenizer}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "TokenizersBackend"])
def test_ids_and_text_are_auto_tokenizers(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    for folder in (_configured(tmp_path, tokenizer_class=kind), demo_folder()):
        ours, theirs = Tokenizer(folder), AutoTokenizer.from_pretrained(folder)
        for text in TEXTS:
            ids = ours.encode(text)
            assert ids == theirs(text)["input_ids"]
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


def test_a_folder_without_tokenizer_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--prompt-ids"):
        Tokenizer(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"model": {"type": "Evil\x1b[2J"}}', b"\xff" * 100])
def test_a_damaged_tokenizer_is_one_printable_line(content: bytes, tmp_path: Path) -> None:
    (_configured(tmp_path) / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        Tokenizer(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
        {"pre_tokenizer": None, "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "zz"}},
    ],
    ids=["a panic", "an error in use"],
)
def test_a_tokenizer_at_odds_with_itself_is_one_line(
    change: dict[str, object], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = _configured(tmp_path, tokenizer_class="PreTrainedTokenizerFast") / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        Tokenizer(tmp_path).encode("to be")
    assert str(caught.value).isprintable()
    assert capfd.readouterr().err == ""


def test_code_in_the_folder_is_never_run(tmp_path: Path) -> None:
    _configured(tmp_path)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass T: pass\n", encoding="utf-8")
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "auto_map": {"AutoTokenizer": ["evil.T", "evil.T"]}}), encoding="utf-8")
    with contextlib.suppress(CheckpointError):
        Tokenizer(tmp_path)
    assert not (tmp_path / "ran").exists()
    assert "evil" not in sys.modules
