"""The numbers: every computation of the machine as a float32 function, unrounded.

Vectors in, vectors out, all float32 and contiguous; the caller rounds the
result once to the build's dtype. Each reduction depends on the length of the
vector alone, never on where it lies or on what is computed beside it, so that
results do not depend on the number of devices or on how work is batched.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compiler.isa.spec import RopeStyle

Vector = NDArray[np.float32]

BLOCK_COLS = 8192
"""Columns of one partial sum. Beyond its buffer of 8192 elements einsum's order of
addition depends on the number of rows; up to it, each row is summed alike."""


def dot_rows(matrix: Vector, vector: Vector) -> Vector:
    """Dot product of each row with `vector`.

    Args:
        matrix: [channels, slots, cols], contiguous along cols.
        vector: [cols].

    Returns:
        [slots, channels]: partial sums of BLOCK_COLS columns, added in ascending order.
    """
    cols = vector.shape[0]
    if cols <= BLOCK_COLS:
        result: Vector = np.einsum("crk,k->rc", matrix, vector)
        return result
    total: Vector = np.einsum("crk,k->rc", matrix[:, :, :BLOCK_COLS], vector[:BLOCK_COLS])
    for begin in range(BLOCK_COLS, cols, BLOCK_COLS):
        end = begin + BLOCK_COLS
        total += np.einsum("crk,k->rc", matrix[:, :, begin:end], vector[begin:end])
    return total


def rotate(vector: Vector, rope: Vector, head_dim: int, rotary_dim: int, style: int) -> Vector:
    """Rotate the first `rotary_dim` lanes of every head.

    Args:
        vector: heads of `head_dim` lanes behind one another.
        rope: rotary_dim / 2 cosines, then as many sines.
        head_dim: divides the length of `vector`.
        rotary_dim: even, at most `head_dim`.
        style: a RopeStyle.
    """
    half = rotary_dim // 2
    cos, sin = rope[:half], rope[half:rotary_dim]
    heads = vector.reshape(-1, head_dim)
    if style == RopeStyle.INTERLEAVED:
        first, second = slice(0, rotary_dim, 2), slice(1, rotary_dim, 2)
    else:
        first, second = slice(0, half), slice(half, rotary_dim)
    a, b = np.ascontiguousarray(heads[:, first]), np.ascontiguousarray(heads[:, second])
    result = heads.copy()
    result[:, first] = a * cos - b * sin
    result[:, second] = b * cos + a * sin
    return result.reshape(-1)


def softmax(vector: Vector, scale: float) -> Vector:
    """exp(s - max(s)) times the reciprocal of its sum, for s = vector * scale."""
    scaled = vector * np.float32(scale)
    powers = np.exp(scaled - scaled.max())
    result: Vector = powers * (np.float32(1.0) / np.add.reduce(powers))
    return result


def layernorm(vector: Vector, eps: float, weight: Vector | None, bias: Vector | None) -> Vector:
    """(a - mean) * (1 / sqrt(var + eps)) * weight + bias with the biased variance."""
    length = np.float32(vector.shape[0])
    centred = vector - np.add.reduce(vector) / length
    variance = np.add.reduce(centred * centred) / length
    result: Vector = centred * (np.float32(1.0) / np.sqrt(variance + np.float32(eps)))
    if weight is not None:
        result *= weight
    if bias is not None:
        result += bias
    return result


def rmsnorm(vector: Vector, eps: float, weight: Vector | None) -> Vector:
    """a * (1 / sqrt(mean(a * a) + eps)) * weight."""
    square = np.add.reduce(vector * vector) / np.float32(vector.shape[0])
    result: Vector = vector * (np.float32(1.0) / np.sqrt(square + np.float32(eps)))
    if weight is not None:
        result *= weight
    return result
