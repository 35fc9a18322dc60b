"""Rotary position embedding: from `config.json` to the table of cosines and sines.

Both dialects are read: `rope_theta` beside `rope_scaling` (transformers 4) and
`rope_parameters` (transformers 5). The formulas are those of
transformers.modeling_rope_utils; frequencies and angles are float32 as there.

Source: RoFormer (arXiv 2104.09864), YaRN (2309.00071), LongRoPE (2402.13753),
Llama 3.1 (config of the release), dynamic NTK (transformers).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.checkpoint.config import POSITION_LIMIT, CheckpointConfig
from compiler.errors import UnsupportedModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROPE_KINDS = ("default", "linear", "dynamic", "yarn", "longrope", "llama3")


@dataclass(frozen=True, slots=True)
class Rope:
    """A rotation, fully specified.

    Attributes:
        kind: one of ROPE_KINDS.
        theta: base of the frequencies.
        rotary_dim: leading elements of each head that rotate; even.
        max_positions: `max_position_embeddings`.
        original_positions: context length of pretraining, for the kinds that need it.
        factor: context extension.
        attention_factor: multiplies cosines and sines.
        options: the remaining numbers of the kind, by Hugging Face name.
        short_factors: longrope, per frequency, up to original_positions.
        long_factors: longrope, per frequency, beyond.
        backwards: angles are negative.
        odd: the share of a head that rotates is one element less, and odd: transformers rotates one more then.
    """

    kind: str
    theta: float
    rotary_dim: int
    max_positions: int
    original_positions: int
    factor: float
    attention_factor: float
    options: tuple[tuple[str, float], ...] = ()
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()
    backwards: bool = False
    odd: bool = False

    def option(self, name: str) -> float:
        """A number of this kind by its Hugging Face name."""
        return dict(self.options)[name]


def read_rope(
    config: CheckpointConfig,
    head_dim: int,
    max_positions: int,
    default_theta: float,
    default_partial: float | None = None,
    layer_type: str = "",
) -> Rope:
    """Read the rotation from either dialect.

    Args:
        default_partial: `partial_rotary_factor` where the config has none; None for a family that
            rotates whole heads, as transformers then ignores the field.
        layer_type: key of `rope_parameters` where each kind of layer has its own.

    Raises:
        UnsupportedModelError: unknown kind, a missing or senseless number.
    """
    outer = config.table("rope_scaling") or config.table("rope_parameters")
    nested = outer.get(layer_type) if layer_type else None
    table = dict(nested) if isinstance(nested, Mapping) else dict(outer)
    if isinstance(nested, Mapping):
        table["truncate"] = outer.get("truncate", True)
    kind = table.get("rope_type", table.get("type", "default"))
    kind = "longrope" if kind == "su" else kind  # its name before it had one
    if kind not in ROPE_KINDS:
        raise UnsupportedModelError(f"config.json: rope_type is {str(kind)[:60]!r}; known are {', '.join(ROPE_KINDS)}")
    theta = _number(table, "rope_theta", config.number("rope_theta", 1.0, 1e12, default_theta), 1.0, 1e12)
    share = int(head_dim * _partial(config, table, str(kind), default_partial))
    rotary_dim = share + share % 2
    if not 2 <= rotary_dim <= head_dim or (share % 2 and kind in ("yarn", "longrope")):
        raise UnsupportedModelError(f"config.json: {share} rotary elements per head; it must be even and at least 2")
    if kind == "dynamic" and share < 3:
        raise UnsupportedModelError(f"config.json: {share} rotary elements per head; rope_type dynamic needs 3")
    if kind == "yarn" and theta <= 1.0:
        raise UnsupportedModelError(f"config.json: rope_theta is {theta:g}; rope_type yarn needs more than 1")
    original = _original(config, table, max_positions, nested is not None)
    if kind == "longrope" and original < 2:
        raise UnsupportedModelError("config.json: original_max_position_embeddings is 1; rope_type longrope needs 2")
    factor = 1.0
    if kind in ("linear", "dynamic", "llama3"):
        factor = _number(table, "factor", None, 1e-6, 1e6)
    elif kind in ("yarn", "longrope"):
        factor = _number(table, "factor", max_positions / original, 1e-6, 1e6)
    short, long = _longrope_factors(table, kind, rotary_dim // 2)
    return Rope(
        kind=kind,
        theta=theta,
        rotary_dim=rotary_dim,
        max_positions=max_positions,
        original_positions=original,
        factor=factor,
        attention_factor=_attention_factor(table, kind, factor, original),
        options=_options(table, kind),
        short_factors=short,
        long_factors=long,
        odd=share % 2 > 0,
    )


def _original(config: CheckpointConfig, table: Mapping[str, Any], positions: int, nested: bool) -> int:
    """Context length of pretraining; beside the rope parameters it counts more than among them, as in transformers."""
    name = "original_max_position_embeddings"
    if config.fields.get(name) is not None and not nested:
        return config.integer(name, 1, POSITION_LIMIT)
    return int(_number(table, name, positions, 1, POSITION_LIMIT))


def _partial(config: CheckpointConfig, table: Mapping[str, Any], kind: str, default: float | None) -> float:
    """The share of each head that rotates.

    Raises:
        UnsupportedModelError: a family that rotates whole heads, and a kind whose formula in transformers does not.
    """
    asked = config.number("partial_rotary_factor", 0.0, 1.0, 1.0 if default is None else default)
    asked = _number(table, "partial_rotary_factor", asked, 0.0, 1.0)
    if default is not None or asked == 1.0 or kind == "default":
        return asked if default is not None else 1.0
    raise UnsupportedModelError(
        f"config.json: partial_rotary_factor {asked:g} with rope_type {kind!r} does not fit {config.architecture}, "
        "which rotates whole heads"
    )


def rotary_table(rope: Rope, positions: int) -> NDArray[np.float32]:
    """Cosines then sines for each position, shape [positions, rotary_dim], float32.

    Kinds that depend on the sequence length (dynamic, longrope) give row p the
    frequencies of a sequence of p + 1 tokens, as step-by-step decoding sees them. A
    prompt of more than `original_positions` tokens under longrope has a table of its
    own: the same rotation with original_positions 0. A text that crosses them later keeps the keys it has, but in
    families whose cache transformers makes anew (`Decoder.reread`).
    """
    import numpy as np

    index = np.arange(positions, dtype=np.float32)[:, None]
    base = inverse_frequencies(rope, 0)
    angles = index * base[None, :]
    if rope.kind == "longrope" and positions > rope.original_positions:
        rows = slice(rope.original_positions, None)
        angles[rows] = index[rows] * inverse_frequencies(rope, positions)[None, :]
    elif rope.kind == "dynamic":
        for position in range(rope.max_positions, positions):
            angles[position] = np.float32(position) * inverse_frequencies(rope, position + 1)
    scale = np.float32(rope.attention_factor)
    return np.concatenate([np.cos(angles) * scale, np.sin(angles) * (-scale if rope.backwards else scale)], axis=1)


def inverse_frequencies(rope: Rope, length: int) -> NDArray[np.float32]:
    """Inverse frequencies for a sequence of `length` tokens, shape [rotary_dim / 2], float32."""
    import numpy as np

    theta, share = rope.theta, rope.rotary_dim - rope.odd
    if rope.kind == "dynamic":
        stretch = rope.factor * max(length, rope.max_positions) / rope.max_positions - (rope.factor - 1)
        theta *= stretch ** (share / (share - 2))
    exponents = np.arange(0, share, 2, dtype=np.float32) / np.float32(share)
    powers = np.power(theta, exponents.astype(np.float64)).astype(np.float32)
    inverse = np.float32(1.0) / powers
    if rope.kind == "linear":
        inverse = inverse / np.float32(rope.factor)
    elif rope.kind == "llama3":
        inverse = _llama3(rope, inverse)
    elif rope.kind == "yarn":
        inverse = _yarn(rope, powers, inverse)
    elif rope.kind == "longrope":
        factors = rope.long_factors if length > rope.original_positions else rope.short_factors
        inverse = np.float32(1.0) / (np.asarray(factors, dtype=np.float32) * powers)
    return np.asarray(inverse, dtype=np.float32)


def _llama3(rope: Rope, inverse: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    low, high = rope.option("low_freq_factor"), rope.option("high_freq_factor")
    wavelength = np.float32(2 * math.pi) / inverse
    factor = np.float32(rope.factor)
    scaled = np.where(wavelength > np.float32(rope.original_positions / low), inverse / factor, inverse)
    smooth = (np.float32(rope.original_positions) / wavelength - np.float32(low)) / np.float32(high - low)
    smoothed = (np.float32(1) - smooth) * scaled / factor + smooth * scaled
    medium = (wavelength >= np.float32(rope.original_positions / high)) & (
        wavelength <= np.float32(rope.original_positions / low)
    )
    return np.asarray(np.where(medium, smoothed, scaled), dtype=np.float32)


def _yarn(rope: Rope, powers: NDArray[np.float32], inverse: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    def correction(rotations: float) -> float:
        turns = rope.original_positions / (rotations * 2 * math.pi)
        return rope.rotary_dim * math.log(turns) / (2 * math.log(rope.theta))

    low, high = correction(rope.option("beta_fast")), correction(rope.option("beta_slow"))
    if rope.option("truncate"):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.rotary_dim - 1)
    if low == high:
        high += 0.001
    index = np.arange(rope.rotary_dim // 2, dtype=np.float32)
    ramp = np.clip((index - np.float32(low)) / np.float32(high - low), 0, 1).astype(np.float32)
    keep = np.float32(1) - ramp
    interpolated = np.float32(1) / (np.float32(rope.factor) * powers)
    return np.asarray(interpolated * (np.float32(1) - keep) + inverse * keep, dtype=np.float32)


def _attention_factor(table: Mapping[str, Any], kind: str, factor: float, original: int) -> float:
    if kind not in ("yarn", "longrope"):
        return 1.0
    if table.get("attention_factor") is not None:
        return _number(table, "attention_factor", None, 1e-6, 1e6)
    if kind == "longrope":
        return 1.0 if factor <= 1.0 else math.sqrt(1 + math.log(factor) / math.log(original))

    def magnitude(scale: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0

    scale, scale_all = table.get("mscale"), table.get("mscale_all_dim")
    if scale and scale_all:
        return magnitude(_number(table, "mscale", None, 0, 1e6)) / magnitude(
            _number(table, "mscale_all_dim", None, 0, 1e6)
        )
    return magnitude(1.0)


def _options(table: Mapping[str, Any], kind: str) -> tuple[tuple[str, float], ...]:
    if kind == "llama3":
        low = _number(table, "low_freq_factor", None, 1e-6, 1e6)
        high = _number(table, "high_freq_factor", None, 1e-6, 1e6)
        if high <= low:
            raise UnsupportedModelError(f"config.json: high_freq_factor {high:g} must exceed low_freq_factor {low:g}")
        return (("low_freq_factor", low), ("high_freq_factor", high))
    if kind == "yarn":
        return (
            ("beta_fast", _number(table, "beta_fast", 32.0, 1e-6, 1e6)),
            ("beta_slow", _number(table, "beta_slow", 1.0, 1e-6, 1e6)),
            ("truncate", float(table.get("truncate", True) is not False)),
        )
    return ()


def _longrope_factors(table: Mapping[str, Any], kind: str, count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if kind != "longrope":
        return (), ()
    both = []
    for name in ("short_factor", "long_factor"):
        values = table.get(name)
        if not isinstance(values, list) or len(values) != count:
            raise UnsupportedModelError(f"config.json: {name} must be a list of {count} numbers")
        both.append(tuple(_number({name: value}, name, None, 1e-6, 1e6) for value in values))
    return both[0], both[1]


def _number(table: Mapping[str, Any], name: str, default: float | None, low: float, high: float) -> float:
    value = table.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UnsupportedModelError(
            f"config.json: {name} of the rope parameters is {str(value)[:60]!r}; it must be from {low:g} to {high:g}"
        )
    return float(value)
