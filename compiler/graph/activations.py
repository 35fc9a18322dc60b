"""Activation functions by their Hugging Face names, and the tables the device evaluates.

A device looks its activation up: a table of cubics on 4096 segments of
[-32, 32), a line on either side. The largest error is below one float32 unit
in the last place of values near 1 (measured by a test against the function).

Some functions have parameters, which are part of the name: `softcap:C:S` is
C * tanh(S * x / C), `clip:L:O` limits to [-L, L] and adds O, `at_most:L` and
`at_least:-L` limit on one side, `swiglu:A:L` is y * sigmoid(A * y) for y = min(x, L).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.isa.tables import ActivationTable

Function = Callable[[float], float]

_LIMIT = 32.0
_SEGMENTS = 4096


def _sigmoid(x: float) -> float:
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    grown = math.exp(x)
    return grown / (1.0 + grown)


def _gelu(x: float) -> float:
    return 0.5 * x * math.erfc(-x / math.sqrt(2.0))


def _gelu_tanh(x: float) -> float:
    return x * _sigmoid(2.0 * math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x))


def _silu(x: float) -> float:
    return x * _sigmoid(x)


def _mish(x: float) -> float:
    return x * math.tanh(x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x)))


def _quick_gelu(x: float) -> float:
    return x * _sigmoid(1.702 * x)


def _laplace(x: float) -> float:
    return 0.5 * math.erfc((0.707107 - x) / (0.282095 * math.sqrt(2.0)))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _negative_exponential(x: float) -> float:
    return math.expm1(x) - x if x < 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Smooth:
    """A function on [end - 2 * limit, end), and its lines on either side; `end` is `limit` unless given."""

    function: Function
    right_slope: float
    right: float = 0.0
    left: float = 0.0
    limit: float = _LIMIT
    left_slope: float = 0.0
    end: float | None = None


_SMOOTH: dict[str, _Smooth] = {
    "gelu": _Smooth(_gelu, 1.0),
    "gelu_python": _Smooth(_gelu, 1.0),
    "gelu_new": _Smooth(_gelu_tanh, 1.0),
    "gelu_fast": _Smooth(_gelu_tanh, 1.0),
    "gelu_pytorch_tanh": _Smooth(_gelu_tanh, 1.0),
    "gelu_python_tanh": _Smooth(_gelu_tanh, 1.0),
    "gelu_accurate": _Smooth(_gelu_tanh, 1.0),
    "quick_gelu": _Smooth(_quick_gelu, 1.0),
    "silu": _Smooth(_silu, 1.0),
    "swish": _Smooth(_silu, 1.0),
    "mish": _Smooth(_mish, 1.0),
    "sigmoid": _Smooth(_sigmoid, 0.0, 1.0),
    "tanh": _Smooth(math.tanh, 0.0, 1.0, -1.0),
    "gelu_10": _Smooth(lambda x: min(_gelu(x), 10.0), 0.0, 10.0, end=10.0),
    "hardswish": _Smooth(lambda x: x * max(0.0, min(1.0, x / 6.0 + 0.5)), 1.0),
    "laplace": _Smooth(_laplace, 0.0, 1.0),
    "leaky_relu": _Smooth(lambda x: x if x > 0 else 0.01 * x, 1.0, left_slope=0.01),
    "linear": _Smooth(lambda x: x, 1.0, left_slope=1.0),
    "relu6": _Smooth(lambda x: max(0.0, min(6.0, x)), 0.0, 6.0, end=6.0),
}

_PARTS: dict[str, _Smooth] = {
    "softplus": _Smooth(_softplus, 1.0),
    "log_sigmoid": _Smooth(lambda x: -_softplus(-x), 0.0, left_slope=1.0),
    "negative_exponential": _Smooth(_negative_exponential, 0.0, left=-1.0, left_slope=-1.0),
}
"""What other functions are made of: negative_exponential is exp(x) - 1 - x below 0, and 0 from there on."""

ACTIVATIONS = ("relu", *_SMOOTH)
"""Names that a config may use and a table stands for."""


def softcap(cap: float, scale: float = 1.0) -> str:
    """Name of cap * tanh(scale * x / cap)."""
    return f"softcap:{cap!r}:{scale!r}"


def clip(limit: float, plus: float = 0.0) -> str:
    """Name of the function that limits x to [-limit, limit] and adds `plus`."""
    return f"clip:{limit!r}:{plus!r}"


def limits(limit: float) -> tuple[str, ...]:
    """Names of the functions that one after the other limit x to [-limit, limit]: one where a table holds both ends."""
    return (clip(limit),) if clip_width(limit) else (f"at_most:{limit!r}", f"at_least:{-limit!r}")


def swiglu(alpha: float, limit: float) -> str:
    """Name of y * sigmoid(alpha * y) for y = min(x, limit); `limit` is one that `clip_width` allows."""
    return f"swiglu:{alpha!r}:{limit!r}"


def activation_function(name: str) -> Function:
    """The function in float64; KeyError when there is none of that name."""
    stem, *numbers = name.split(":")
    if stem == "relu":
        return lambda x: max(x, 0.0)
    if stem == "clip":
        limit, plus = float(numbers[0]), float(numbers[1])
        return lambda x: max(min(x, limit), -limit) + plus
    if stem == "at_most":
        return lambda x: min(x, float(numbers[0]))
    if stem == "at_least":
        return lambda x: max(x, float(numbers[0]))
    return _smooth(name).function


def _smooth(name: str) -> _Smooth:
    stem, *numbers = name.split(":")
    if stem == "swiglu":
        alpha, end = float(numbers[0]), float(numbers[1])
        y = end * _sigmoid(alpha * end)
        reach = max(_LIMIT, 2.0 ** math.ceil(math.log2(end)), 2.0 ** math.ceil(math.log2(32.0 / alpha)))
        return _Smooth(lambda x: min(x, end) * _sigmoid(alpha * min(x, end)), 0.0, y, limit=reach, end=end)
    if stem != "softcap":
        return _SMOOTH.get(name) or _PARTS[name]
    cap, scale = float(numbers[0]), float(numbers[1])
    limit = 2.0 ** math.ceil(math.log2(10.0 * cap / scale))  # tanh(10) is 1 to a float32
    return _Smooth(lambda x: cap * math.tanh(x * scale / cap), 0.0, cap, -cap, limit)


@cache
def activation_table(name: str) -> ActivationTable:
    """The table of an activation; KeyError when there is none of that name."""
    import numpy as np

    from compiler.isa.tables import ActivationTable

    stem, *numbers = name.split(":")
    if stem == "relu":
        return ActivationTable(0.0, 1.0, 0.0, 0.0, 1.0, 0.0, np.array([[0, 1, 0, 0]], dtype=np.float32))
    if stem == "clip":
        return _clip_table(float(np.float32(numbers[0])), float(np.float32(numbers[1])))
    if stem in ("at_most", "at_least"):
        return _limit_table(float(np.float32(numbers[0])), most=stem == "at_most")
    smooth = _smooth(name)
    function, end = smooth.function, smooth.limit if smooth.end is None else smooth.end
    begin, width = end - 2 * smooth.limit, 2 * smooth.limit / _SEGMENTS
    starts = begin + width * np.arange(_SEGMENTS)
    # Interpolation at the four Chebyshev points of each segment, in powers of t = x - start.
    points = width * (0.5 - 0.5 * np.cos((2 * np.arange(4) + 1) * np.pi / 8))
    inverse = np.linalg.inv(np.vander(points, 4, increasing=True))
    samples = np.array([[function(start + point) for point in points] for start in starts.tolist()])
    coefficients = samples @ inverse.T
    left, right = float(np.float32(smooth.left)), float(np.float32(smooth.right))
    table = coefficients.astype(np.float32)
    slope = float(np.float32(smooth.left_slope))
    return ActivationTable(begin, end, slope, left, smooth.right_slope, right, table)


def _clip_table(limit: float, plus: float) -> ActivationTable:
    """Segments of x itself between -limit and limit, as many as help: each adds at most half a unit of its start."""
    import numpy as np

    from compiler.isa.tables import ActivationTable

    width = clip_width(limit)
    assert width
    starts = np.arange(-limit, limit, width)
    coefficients = np.stack([starts + plus, np.ones_like(starts), 0 * starts, 0 * starts], axis=1)
    return ActivationTable(-limit, limit, 0.0, plus - limit, 0.0, limit + plus, coefficients.astype(np.float32))


def _limit_table(limit: float, most: bool) -> ActivationTable:
    """Lines x and `limit`, exactly: differences are exact in the segment between, which lies within a factor of two."""
    import numpy as np

    from compiler.isa.tables import ActivationTable

    width = 2.0 ** (math.floor(math.log2(abs(limit))) - 1)
    inside = limit - width if most else limit + width
    begin, end = (inside, limit) if most else (limit, inside)
    line = np.array([[begin, 1, 0, 0]], dtype=np.float32)
    left, right = ((1.0, 0.0), (0.0, limit)) if most else ((0.0, limit), (1.0, 0.0))
    return ActivationTable(begin, end, *left, *right, line)


def clip_width(limit: float) -> float:
    """A power of two that divides `limit` into at most 8192 segments, 0.0 when none does."""
    width = 2.0 ** (math.floor(math.log2(limit)) - 11)
    return width if limit % width == 0 else 0.0
