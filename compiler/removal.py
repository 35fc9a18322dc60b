"""Builds that are not wanted any more: what they take, and how they go.

Under the model's lock, so that nobody is writing them; the program goes first,
so that what a crash leaves is a build that lacks one and says so. Whoever has
the files open keeps reading them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compiler.errors import ArtifactError
from compiler.publish import discard_folder
from compiler.workspace import ModelFolder, folder_bytes, lock


@dataclass(frozen=True, slots=True)
class BuildSize:
    """Bytes of one build on disk."""

    build: str
    param_bytes: int
    inst_bytes: int

    @property
    def bytes(self) -> int:
        """Of both folders."""
        return self.param_bytes + self.inst_bytes


def build_size(folder: ModelFolder, build: str) -> BuildSize:
    """What a build takes; what cannot be read counts as nothing."""
    return BuildSize(build, folder_bytes(folder.param(build)), folder_bytes(folder.inst(build)))


def remove_builds(folder: ModelFolder, builds: Iterable[str]) -> tuple[BuildSize, ...]:
    """Remove builds, all of which must be there; what each of them took.

    Raises:
        ArtifactError: a build is not there; none is removed then.
        BusyError: somebody compiles this model.
        UsageError: a folder cannot be removed.
    """
    wanted = tuple(dict.fromkeys(builds))
    _check_present(folder, wanted)
    with lock(folder):
        _check_present(folder, wanted)
        sizes = tuple(build_size(folder, build) for build in wanted)
        for build in wanted:
            for path in (folder.inst(build), folder.param(build)):
                if path.is_symlink() or path.exists():
                    discard_folder(path)
    return sizes


def _check_present(folder: ModelFolder, builds: Iterable[str]) -> None:
    present = folder.builds()
    missing = [build for build in builds if build not in present]
    if missing:
        have = f"it has: {', '.join(present)}" if present else "it has none"
        raise ArtifactError(f"{folder.model_id} has no build {', '.join(missing)}; {have}")
