"""The bundled demo model: its name, its files, and how they get into a prefix.

`model/` holds a complete Hugging Face checkpoint (see its MODEL_CARD.md), written by
`scripts/train_demo.py`. Standard library only; nothing here loads weights.
"""

from __future__ import annotations

from pathlib import Path

from compiler.errors import CheckpointError
from compiler.publish import publish_file

DEMO_MODEL_ID = "hyperdex/demo"

DEMO_PROMPTS: tuple[tuple[str, str], ...] = (
    ("The owl lives in", " the barn and eats mice."),
    ("23 + 45 =", " 68."),
    ("Tell me about the bear.", " The bear is black. It lives in the cave, eats honey and sleeps all winter."),
    ("What is the capital of Eastmark?", " The capital of Eastmark is Tolver."),
    ("Who makes cakes?", " Lena makes cakes."),
    ("What is 78 + 67?", " 78 + 67 = 145."),
    ("Does the frog eat honey?", " No, the frog eats flies."),
    ("Name the days.", " The days are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday."),
)
"""Prompts and what the model continues them with, greedily, up to its end-of-sentence token."""


def demo_folder() -> Path:
    """The packaged checkpoint, to be read only.

    Raises:
        CheckpointError: this installation lacks it.
    """
    folder = Path(__file__).parent / "model"
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"the bundled demo model is missing: {folder}", "install hyperdex-tui again")
    return folder


def install_demo(folder_ckpt: Path) -> None:
    """Copy the demo checkpoint into a model's `ckpt` folder; files already equal stay untouched.

    The caller holds the lock of the model, where others may compile it.

    config.json is written last, so that it stands only beside whole weights.

    Raises:
        UsageError: the folder cannot be written.
        CapacityError: the disk is full.
        CheckpointError: this installation lacks the demo model.
    """
    sources = sorted(path for path in demo_folder().iterdir() if path.is_file() and not path.name.startswith("."))
    for source in sorted(sources, key=lambda path: path.name == "config.json"):
        _copy(source, folder_ckpt / source.name)


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    if not target.is_file() or target.read_bytes() != content:
        publish_file(target, lambda file: file.write(content), in_prefix=True)
