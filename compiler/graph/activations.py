"""Activation functions by their Hugging Face names, and the tables the device evaluates.

A device looks its activation up: a table of cubics on 4096 segments of
[-32, 32), a line on either side. The largest error is below one float32 unit
in the last place of values near 1 (measured by a test against the function).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

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


def _quick_gelu(x: float) -> float:
    return x * _sigmoid(1.702 * x)


_SMOOTH: dict[str, tuple[Function, float, float]] = {
    # name: function, slope to the right, value to the right at slope 0; all are 0 to the left
    "gelu": (_gelu, 1.0, 0.0),
    "gelu_python": (_gelu, 1.0, 0.0),
    "gelu_new": (_gelu_tanh, 1.0, 0.0),
    "gelu_fast": (_gelu_tanh, 1.0, 0.0),
    "gelu_pytorch_tanh": (_gelu_tanh, 1.0, 0.0),
    "quick_gelu": (_quick_gelu, 1.0, 0.0),
    "silu": (_silu, 1.0, 0.0),
    "swish": (_silu, 1.0, 0.0),
    "sigmoid": (_sigmoid, 0.0, 1.0),
}

ACTIVATIONS = ("relu", *_SMOOTH)
"""Names that a config may use."""


def activation_function(name: str) -> Function:
    """The function in float64; KeyError when the name is not in ACTIVATIONS."""
    if name == "relu":
        return lambda x: max(x, 0.0)
    return _SMOOTH[name][0]


@cache
def activation_table(name: str) -> ActivationTable:
    """The table of an activation; KeyError when the name is not in ACTIVATIONS."""
    if name == "relu":
        return ActivationTable(0.0, 1.0, 0.0, 0.0, 1.0, 0.0, np.array([[0, 1, 0, 0]], dtype=np.float32))
    function, slope, intercept = _SMOOTH[name]
    width = 2 * _LIMIT / _SEGMENTS
    starts = -_LIMIT + width * np.arange(_SEGMENTS)
    # Interpolation at the four Chebyshev points of each segment, in powers of t = x - start.
    points = width * (0.5 - 0.5 * np.cos((2 * np.arange(4) + 1) * np.pi / 8))
    inverse = np.linalg.inv(np.vander(points, 4, increasing=True))
    samples = np.array([[function(start + point) for point in points] for start in starts.tolist()])
    coefficients = samples @ inverse.T
    return ActivationTable(-_LIMIT, _LIMIT, 0.0, 0.0, slope, intercept, coefficients.astype(np.float32))
