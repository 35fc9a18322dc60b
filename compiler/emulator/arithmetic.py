"""The numbers: every computation of the machine as a float32 function, unrounded.

Vectors in, vectors out, all float32 and contiguous; the caller rounds the
result once to the build's dtype. Each reduction depends on the length of the
vector alone, never on where it lies or on what is computed beside it, so that
results do not depend on the number of devices or on how work is batched.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from compiler.dtypes import BFLOAT16
from compiler.isa.spec import RopeStyle
from compiler.rounding import round_to

Vector = NDArray[np.float32]

LANES = 16
"""Running sums of every reduction: element i is added to sum i % LANES."""

EXP_LOWEST = -104.0
"""Below, the exponential is 0: half of the least subnormal number."""

EXP_SHIFT = 64
"""Powers of two that the exponential is kept above its value, so that only its last step may be subnormal."""

LOG2_E = float(np.float32(1.4426950408889634))
LN2_HIGH = 0.693359375
LN2_LOW = float(np.float32(-2.12194440e-4))
"""ln 2 in two parts: a whole number up to 2**15 times the first one is exact."""

ROUND_TO_WHOLE = 12582912.0
"""1.5 * 2**23: added to a small number it leaves the nearest whole number in the lowest bits."""

EXP_POLYNOMIAL = tuple(
    float(np.float32(value))
    for value in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
)
"""exp(r) = 1 + r + r * r * (polynomial in r, highest power first) for abs(r) <= ln(2) / 2.

Source: S. Moshier, Cephes, expf.
"""


def dot_rows(matrix: Vector, vector: Vector) -> Vector:
    """Dot product of each row with `vector`: the definition, which `kernel_ir` computes fast.

    Products are rounded, then added in ascending order of columns to LANES
    running sums; then the upper half of the sums is added to the lower half
    until one is left. A row's result depends on nothing but the row and `vector`.

    Args:
        matrix: [rows, cols].
        vector: [cols].

    Returns:
        [rows].
    """
    rows, cols = matrix.shape
    products = np.zeros((rows, -(-cols // LANES) * LANES), dtype=np.float32)
    np.multiply(matrix, vector, out=products[:, :cols])
    return _sum_of_groups(products)


def total(values: Vector) -> Vector:
    """Sum along the last axis, in the order of `dot_rows`."""
    *outer, length = values.shape
    padded = np.zeros((math.prod(outer), -(-length // LANES) * LANES), dtype=np.float32)
    padded[:, :length] = values.reshape(-1, length)
    return _sum_of_groups(padded).reshape(outer)


def _sum_of_groups(padded: Vector) -> Vector:
    """Sum of every row of [rows, groups * LANES]."""
    sums: Vector = np.add.reduce(padded.reshape(padded.shape[0], -1, LANES), axis=1, dtype=np.float32)
    while sums.shape[1] > 1:
        half = sums.shape[1] // 2
        sums = sums[:, :half] + sums[:, half:]
    return sums[:, 0]


def exp(x: Vector) -> Vector:
    """The exponential of numbers up to 0, within one float32 unit; 0 below EXP_LOWEST.

    Defined by its steps, each rounded once, and so the same on every processor.
    """
    one = np.float32
    scaled = np.maximum(x, one(EXP_LOWEST))
    shifted = scaled * one(LOG2_E) + one(ROUND_TO_WHOLE)
    whole = shifted - one(ROUND_TO_WHOLE)
    rest = scaled - whole * one(LN2_HIGH) - whole * one(LN2_LOW)
    power = np.full_like(rest, EXP_POLYNOMIAL[0])
    for coefficient in EXP_POLYNOMIAL[1:]:
        power = power * rest + one(coefficient)
    power = power * (rest * rest) + rest + one(1)
    exponent = (shifted.view(np.uint32) << np.uint32(23)) + np.uint32(127 + EXP_SHIFT << 23)
    result: Vector = np.where(x < one(EXP_LOWEST), one(0), power * exponent.view(np.float32) * one(2.0**-EXP_SHIFT))
    return result


def rotate(vector: Vector, rope: Vector, head_dim: int, rotary_dim: int, style: int) -> Vector:
    """Rotate the first `rotary_dim` lanes of every head.

    Args:
        vector: heads of `head_dim` lanes behind one another, [..., length].
        rope: rotary_dim / 2 cosines, then as many sines, [..., rotary_dim].
        head_dim: divides the length of `vector`.
        rotary_dim: even, at most `head_dim`.
        style: a RopeStyle.
    """
    half = rotary_dim // 2
    cos, sin = rope[..., None, :half], rope[..., None, half:rotary_dim]
    heads = vector.reshape(*vector.shape[:-1], -1, head_dim)
    if style == RopeStyle.INTERLEAVED:
        first, second = slice(0, rotary_dim, 2), slice(1, rotary_dim, 2)
    else:
        first, second = slice(0, half), slice(half, rotary_dim)
    a, b = np.ascontiguousarray(heads[..., first]), np.ascontiguousarray(heads[..., second])
    result = heads.copy()
    result[..., first] = a * cos - b * sin
    result[..., second] = b * cos + a * sin
    return result.reshape(vector.shape)


def linear_bias(slope: np.float32, tokens: range, scale: float, coarse: bool) -> Vector:
    """slope * token; rounded to bfloat16 and times `scale` if it is coarse."""
    bias: Vector = slope * np.arange(tokens.start, tokens.stop).astype(np.float32)
    return round_to(bias, BFLOAT16) * np.float32(scale) if coarse else bias


def softmax(
    vector: Vector, scale: float, bias: Vector | None = None, first: int = 0, sink: np.float32 | None = None
) -> Vector:
    """exp(s - max(s)) times the reciprocal of its sum, for s = vector * scale + bias; 0 before `first`.

    All along the last axis. A sink is one more score, in maximum and sum only.
    """
    scaled = vector * np.float32(scale)
    if bias is not None:
        scaled += bias
    if first > 0:
        scaled[..., :first] = -np.inf
    greatest = scaled.max(axis=-1, keepdims=True)
    if sink is not None:
        greatest = np.maximum(greatest, sink)
    powers = exp(scaled - greatest)
    whole = total(powers)[..., None]
    if sink is not None:
        whole = whole + exp(sink - greatest)
    result: Vector = powers * (np.float32(1.0) / whole)
    return result


def layernorm(vector: Vector, eps: float, weight: Vector | None, bias: Vector | None, of: Vector) -> Vector:
    """(a - mean) * (1 / sqrt(var + eps)) * weight + bias with mean and biased variance of `of`, usually a itself."""
    length = np.float32(of.shape[0])
    mean = total(of) / length
    centred = of - mean
    variance = total(centred * centred) / length
    if of is not vector:
        centred = vector - mean
    result: Vector = centred * (np.float32(1.0) / np.sqrt(variance + np.float32(eps)))
    if weight is not None:
        result *= weight
    if bias is not None:
        result += bias
    return result


def rmsnorm(vector: Vector, eps: float, weight: Vector | None, of: Vector) -> Vector:
    """a * (1 / sqrt(mean(of * of) + eps)) * weight; `of` is usually a itself."""
    square = total(of * of) / np.float32(of.shape[0])
    result: Vector = vector * (np.float32(1.0) / np.sqrt(square + np.float32(eps)))
    if weight is not None:
        result *= weight
    return result
