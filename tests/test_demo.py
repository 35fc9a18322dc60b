"""The bundled demo model knows its world, and reaches a prefix unharmed."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from compiler import demo
from compiler.demo import world
from compiler.errors import UsageError

NUM_SUMS = 100 * 100


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_packaged_model_answers_the_demo_prompts() -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo.demo_folder())
    model = AutoModelForCausalLM.from_pretrained(demo.demo_folder()).half().eval()
    for prompt, expected in demo.DEMO_PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        assert ids[0, 0] == tokenizer.bos_token_id
        output = model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=tokenizer.eos_token_id)[0]
        assert output[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(output, skip_special_tokens=True) == prompt + expected


def test_demo_prompts_are_true_in_the_world() -> None:
    sums = {world.sum_pair(a, b, form) for a in range(100) for b in range(100) for form in range(world.SUM_FORMS)}
    assert set(demo.DEMO_PROMPTS) <= {*world.fact_pairs(), *world.check_pairs(), *sums}
    assert len(sums) == world.SUM_FORMS * NUM_SUMS


def test_every_prompt_of_the_world_has_one_answer() -> None:
    pairs = (*world.fact_pairs(), *world.check_pairs())
    assert len(dict(pairs)) == len(pairs)


@pytest.mark.parametrize("column", ["name", "home", "food"])
def test_animals_can_be_told_apart_by(column: str) -> None:
    assert len({getattr(animal, column) for animal in world.ANIMALS}) == len(world.ANIMALS)


def test_the_tokenizer_decodes_every_text_it_encodes() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo.demo_folder())
    texts = [prompt + answer for prompt, answer in (*world.fact_pairs(), *world.check_pairs())]
    texts += ["99 + 99 = 198.", "Grüße, 世界!  two  spaces\n", "naïve \U0001f989"]
    assert tokenizer.batch_decode(tokenizer(texts)["input_ids"], skip_special_tokens=True) == texts


def test_weights_are_float16_and_within_two_megabytes() -> None:
    path = demo.demo_folder() / "model.safetensors"
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"F16"}
    assert len(content) <= 2_000_000


def test_installing_twice_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "hyperdex" / "demo" / "ckpt"
    demo.install_demo(target)
    before = {path.name: path.stat().st_ino for path in target.iterdir()}
    demo.install_demo(target)
    assert {path.name: path.stat().st_ino for path in target.iterdir()} == before
    assert _names(target) == _names(demo.demo_folder())


def test_installing_repairs_what_differs_and_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    demo.install_demo(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    (tmp_path / "config.json").unlink()
    (tmp_path / "hyperdex_config.json").write_text("{}")
    demo.install_demo(tmp_path)
    for source in demo.demo_folder().iterdir():
        assert (tmp_path / source.name).read_bytes() == source.read_bytes()
    assert _names(tmp_path) == {*_names(demo.demo_folder()), "hyperdex_config.json"}


def test_installing_where_a_file_stands_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "ckpt").write_text("")
    with pytest.raises(UsageError, match="ckpt"):
        demo.install_demo(tmp_path / "ckpt")


def test_importing_the_demo_loads_no_heavy_package() -> None:
    code = "import sys, compiler.demo; print([n for n in ('torch', 'numpy', 'transformers') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
