"""What an architecture asks for against what a checkpoint holds: everything that is wrong, in one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compiler.checkpoint.shards import SHOWN
from compiler.checkpoint.tensors import StoredTensor, TensorSpec
from compiler.errors import CheckpointError, VerificationError
from compiler.sanitize import one_line

_NAME_LIMIT = 100
_NARROW = re.compile(r"F[468]|Float[468]")
_OTHER_DTYPE = "use a checkpoint in float16, bfloat16 or float32"


@dataclass(frozen=True, slots=True)
class Match:
    """How one spec is met: by a stored tensor, or (None) by the spec it is tied to."""

    spec: TensorSpec
    stored: StoredTensor | None


def match_tensors(
    specs: Sequence[TensorSpec],
    tensors: Mapping[str, StoredTensor],
    ignored: Callable[[str], bool],
) -> tuple[Match, ...]:
    """Pair every spec with its tensor, in the order of the specs; optional ones that are absent are left out.

    Args:
        specs: what the model needs.
        tensors: what the checkpoint holds.
        ignored: whether a tensor that no spec asks for is harmless.

    Raises:
        CheckpointError: tensors are missing, unexpected, misshapen or not floating-point; all are named.
        VerificationError: the specs contradict each other.
    """
    _verify_specs(specs)
    matches, missing, misshapen = [], [], []
    unusable: list[str] = []
    narrow: list[str] = []
    claimed: set[str] = set()
    for spec in specs:
        present = [name for name in (spec.name, *spec.aliases) if name in tensors]
        if spec.tied_to and not (spec.optional and present):
            claimed.update(present)
            matches.append(Match(spec, None))
            continue
        if not present:
            if not spec.optional:
                missing.append(_shown(spec.name))
            continue
        stored = tensors[present[0]]
        claimed.add(stored.name)
        if stored.dtype is None:
            (narrow if _NARROW.match(stored.dtype_name) else unusable).append(
                f"{_shown(stored.name)} ({stored.dtype_name})"
            )
        elif stored.shape != spec.shape:
            misshapen.append(f"{_shown(stored.name)} {list(stored.shape)} instead of {list(spec.shape)}")
        matches.append(Match(spec, stored))
    unexpected = [_shown(name) for name in tensors if name not in claimed and not ignored(name)]
    complaints = [
        *_complaint("missing", missing),
        *_complaint("unexpected", unexpected),
        *_complaint("misshapen", misshapen),
        *_complaint("not floating-point", unusable),
        *_complaint("in float8 or less, which is not supported", narrow),
    ]
    if complaints:
        advice = (
            _OTHER_DTYPE if unusable or narrow else "the files or config.json may be wrong; download the model again"
        )
        raise CheckpointError(f"the checkpoint does not fit its config.json: {'; '.join(complaints)}", advice)
    return tuple(matches)


def _verify_specs(specs: Sequence[TensorSpec]) -> None:
    by_name = {spec.name: spec for spec in specs}
    if len(by_name) != len(specs):
        raise VerificationError("two tensor specs have the same name")
    for spec in specs:
        if not spec.tied_to:
            continue
        other = by_name.get(spec.tied_to)
        if other is None or other.tied_to or other.optional or other.shape != spec.shape:
            raise VerificationError(f"tensor spec {spec.name!r} cannot be tied to {spec.tied_to!r}")


def _complaint(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}"]


def _shown(name: str) -> str:
    return one_line(name, _NAME_LIMIT)
