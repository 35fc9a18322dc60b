"""Where models live: `PREFIX/ORG/NAME/` with `ckpt/ param/BUILD/ inst/BUILD/ jobs/`.

In: a prefix and a model id as typed. Out: paths that stay inside the prefix,
the lock of a model, and the list of what is there. How files appear in these
folders is in `compiler.publish`, whose functions are part of this surface.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from compiler.dtypes import BUILD_DTYPES, FLOAT16, DType, build_dtype
from compiler.errors import UsageError
from compiler.locking import lock_folder
from compiler.memory_map import MAX_DEVICES
from compiler.publish import ensure_free_space, publish_file, publish_folder, recover_folder, sha256_file
from compiler.sanitize import one_line

__all__ = [
    "MAX_DEVICES",
    "BuildName",
    "ModelFolder",
    "Workspace",
    "build_name",
    "default_prefix",
    "ensure_free_space",
    "lock",
    "parse_build_name",
    "parse_model_id",
    "publish_file",
    "publish_folder",
    "sha256_file",
]

SYSTEM_PREFIX = Path("/opt/hyperdex/models")

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_CONTENT = ("ckpt", "param", "inst")
_RESERVED = frozenset({*_CONTENT, "jobs"})
_TARGET = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_DTYPES = "|".join(dtype.name for dtype in BUILD_DTYPES if dtype is not FLOAT16)
_BUILD = re.compile(rf"({_TARGET})-([1-9][0-9]?)x(?:-({_DTYPES}))?")


class BuildName(NamedTuple):
    """What the name of a build folder says."""

    target: str
    num_devices: int
    dtype: str


def parse_model_id(text: str) -> str:
    """Return `text` as a model id, `ORG/NAME` or `NAME`.

    Raises:
        UsageError: it is not one, or could leave the prefix as a path.
    """
    model_id = text.strip()
    parts = model_id.split("/")
    if len(parts) > 2 or not all(_PART.fullmatch(part) for part in parts) or ".." in model_id:
        shown = one_line(model_id, 100)
        raise UsageError(
            f"model id '{shown}' is not ORG/NAME or NAME of letters, digits and '._-', at most 96 each",
            "for example facebook/opt-125m",
        )
    for part in parts:
        if part in _RESERVED:
            raise UsageError(f"model id {model_id!r} uses {part!r}, which names a folder inside every model")
    return model_id


def expand_home(path: Path) -> Path:
    """Return a path with `~` or `~USER` in front replaced by the home folder.

    Raises:
        UsageError: nobody knows that home folder.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise UsageError(f"{str(path)!r} names a home folder that does not exist", "write the whole path") from None


def default_prefix() -> Path:
    """Return `$HYPERDEX_PREFIX`, else the system prefix if writable, else the user's data folder.

    Raises:
        UsageError: `$HYPERDEX_PREFIX` names a home folder that does not exist.
    """
    chosen = os.environ.get("HYPERDEX_PREFIX", "").strip()
    if chosen:
        return expand_home(Path(chosen))
    if _is_writable(SYSTEM_PREFIX):
        return SYSTEM_PREFIX
    from platformdirs import user_data_path

    return user_data_path("hyperdex", appauthor=False) / "models"


def build_name(target: str, num_devices: int, dtype: DType | str = FLOAT16) -> str:
    """Return the folder name of a build, `{target}-{N}x` and `-{dtype}` when not float16.

    Raises:
        UsageError: the number of devices, the target's or the dtype's name is impossible.
    """
    chosen = build_dtype(str(dtype))
    if not 1 <= num_devices <= MAX_DEVICES:
        raise UsageError(f"number of devices {num_devices} is not in 1..{MAX_DEVICES}")
    if not re.fullmatch(_TARGET, target):
        raise UsageError(f"target '{one_line(target, 100)}' is not a name of lower-case letters, digits and '-'")
    return f"{target}-{num_devices}x" + ("" if chosen is FLOAT16 else f"-{chosen.name}")


def parse_build_name(text: str) -> BuildName:
    """Invert `build_name`.

    Raises:
        UsageError: `build_name` cannot have written it.
    """
    match = _BUILD.fullmatch(text)
    if match is None or int(match[2]) > MAX_DEVICES:
        raise UsageError(f"build '{one_line(text, 100)}' is not TARGET-Nx[-DTYPE]", "for example u55c-2x")
    return BuildName(match[1], int(match[2]), match[3] or FLOAT16.name)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """The folder of one model; nothing is created by asking for a path.

    Raises:
        UsageError: `model_id`, or the build asked for, is not a legal name.
    """

    prefix: Path
    model_id: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "model_id", parse_model_id(self.model_id))

    @property
    def path(self) -> Path:
        """The model's own folder."""
        return self.prefix / self.model_id

    @property
    def ckpt(self) -> Path:
        """Hugging Face files and the converted checkpoint."""
        return self.path / "ckpt"

    @property
    def jobs(self) -> Path:
        """One JSON-lines file per compile."""
        return self.path / "jobs"

    def param(self, build: str) -> Path:
        """Parameters of a build, one file per device and channel."""
        parse_build_name(build)
        return self.path / "param" / build

    def inst(self, build: str) -> Path:
        """Program of a build."""
        parse_build_name(build)
        return self.path / "inst" / build

    def builds(self) -> tuple[str, ...]:
        """Names of the builds that have parameters or a program, sorted."""
        found = {name for kind in ("param", "inst") for name in _subfolders(self.path / kind) if _is_build(name)}
        return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class Workspace:
    """All models under one prefix."""

    prefix: Path

    def model(self, model_id: str) -> ModelFolder:
        """Return the folder of a model, which need not exist.

        Raises:
            UsageError: `model_id` is not a model id.
        """
        return ModelFolder(self.prefix, model_id)

    def models(self) -> tuple[ModelFolder, ...]:
        """Return every model found, sorted by id; links that leave the prefix are not followed.

        A model is a folder with a checkpoint or a build; one that cannot be read counts as a model.
        """
        root = self.prefix.resolve()
        found = []
        for first in _subfolders(self.prefix):
            second = [f"{first}/{name}" for name in _subfolders(self.prefix / first)]
            for model_id in (first, *second):
                if _is_model_id(model_id) and _holds_model(self.prefix / model_id, root):
                    found.append(ModelFolder(self.prefix, model_id))
        return tuple(sorted(found, key=lambda folder: folder.model_id))


@contextmanager
def lock(folder: ModelFolder | Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a model for the block and clear up what a crashed compile left in it.

    Args:
        folder: the model, or its path.
        wait_s: seconds to wait for another holder before giving up.

    Raises:
        BusyError: somebody else holds it; the message says who.
        UsageError: the prefix is read-only, or a folder of the model lies outside of it.
    """
    path = folder.path if isinstance(folder, ModelFolder) else folder
    for name in (*_CONTENT, "jobs"):
        check_inside(path, path / name)
    with lock_folder(path, wait_s=wait_s):
        for name in _CONTENT:
            recover_folder(path / name)
        yield


def folder_bytes(path: Path) -> int:
    """Size of all files below a folder; links, and what cannot be read, count as nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                status = (Path(folder) / name).lstat()
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


def check_inside(model: Path, folder: Path) -> None:
    """Refuse a folder that is not under the model's lock.

    Raises:
        UsageError: it is a link out of the model's folder, or no folder.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "move it away")
    real = folder.resolve()
    if not real.is_relative_to(model.resolve()):
        raise UsageError(
            f"{folder} is a link to {real}, outside the model folder", "move the folder here or choose another --prefix"
        )


def _is_writable(path: Path) -> bool:
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def _subfolders(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return []


def _holds_model(path: Path, root: Path) -> bool:
    """Whether a folder has a checkpoint, as far as one can tell by names, or a build; or keeps it to itself."""
    try:
        if not path.resolve().is_relative_to(root):
            return False
        os.scandir(path).close()
        if (path / "ckpt").is_dir() and any(_is_of_checkpoint(entry.name) for entry in (path / "ckpt").iterdir()):
            return True
        kinds = [path / kind for kind in ("param", "inst") if (path / kind).is_dir()]
        return any(_is_build(entry.name) for kind in kinds for entry in kind.iterdir())
    except PermissionError:
        return True  # whoever lists the models says that it cannot be read
    except OSError:
        return False


def _is_of_checkpoint(name: str) -> bool:
    return name in ("config.json", "hyperdex_download.json") or name.endswith((".safetensors", ".bin"))


def _is_model_id(text: str) -> bool:
    try:
        return parse_model_id(text) == text
    except UsageError:
        return False


def _is_build(text: str) -> bool:
    try:
        parse_build_name(text)
    except UsageError:
        return False
    return True
