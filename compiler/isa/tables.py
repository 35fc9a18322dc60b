"""Activation tables: the piecewise cubics of the vector and matrix units, and their evaluation.

A table approximates one function. Building tables from functions is the
compiler's; this file says what a table means, in float32, and is the
definition that the emulator executes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_SEGMENTS = 1 << 16
MAX_TABLES = 255
"""A table operand has eight bits and 0 means none."""

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ActivationTable:
    """One function as cubics on equal segments of [begin, end) and two lines outside.

    Attributes:
        begin, end: domain of the cubics, float32 values.
        left_slope, left_intercept: the line for x < begin.
        right_slope, right_intercept: the line for x >= end.
        coefficients: float32 [segments, 4], c0..c3 of
            y = ((c3*t + c2)*t + c1)*t + c0 with t = x - begin of the segment.
    """

    begin: float
    end: float
    left_slope: float
    left_intercept: float
    right_slope: float
    right_intercept: float
    coefficients: Vector

    @property
    def segments(self) -> int:
        """Number of cubics."""
        return int(self.coefficients.shape[0])

    @property
    def width(self) -> float:
        """Width of one segment, a power of two."""
        return (self.end - self.begin) / self.segments

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActivationTable) and self.words().tobytes() == other.words().tobytes()

    def __hash__(self) -> int:
        return hash(self.words().tobytes())

    def words(self) -> NDArray[np.int32]:
        """The table as int32 words: begin, end, segments, four line numbers, the coefficients by segment."""
        lines = (self.left_slope, self.left_intercept, self.right_slope, self.right_intercept)
        head = np.array((self.begin, self.end, 0.0, *lines), dtype=np.float32).view(np.int32)
        head[2] = self.segments
        body = np.ascontiguousarray(self.coefficients, dtype=np.float32).reshape(-1).view(np.int32)
        return np.concatenate((head, body))

    def problem(self) -> str:
        """Why the table is not legal, or "" when it is."""
        ends = (self.begin, self.end, self.left_slope, self.left_intercept, self.right_slope, self.right_intercept)
        if self.coefficients.ndim != 2 or self.coefficients.shape[1] != 4 or self.coefficients.dtype != np.float32:
            return f"coefficients are {self.coefficients.dtype} {self.coefficients.shape}, expected float32 [n, 4]"
        if not 1 <= self.segments <= MAX_SEGMENTS:
            return f"{self.segments} segments, allowed are 1..{MAX_SEGMENTS}"
        if not all(math.isfinite(value) for value in ends) or not np.isfinite(self.coefficients).all():
            return "a number is not finite"
        if any(float(np.float32(value)) != value for value in ends):
            return "a number is not a float32 value"
        if self.begin >= self.end or math.frexp(self.width)[0] != 0.5:
            return f"[{self.begin}, {self.end}) in {self.segments} segments: their width is not a power of two"
        return ""

    def evaluate(self, x: Vector) -> Vector:
        """The function at float32 `x`, every step rounded to float32.

        A slope of zero gives its intercept, at infinity too. NaN stays NaN.
        """
        one = np.float32
        begin, width = one(self.begin), one(self.width)
        x = np.ascontiguousarray(x, dtype=np.float32)
        with np.errstate(all="ignore"):
            low, high = x < begin, x >= one(self.end)
            inner = ~(low | high | np.isnan(x))
            index = np.floor(np.where(inner, x - begin, one(0)) / width)
            index = np.minimum(index, one(self.segments - 1))
            t = np.where(inner, x - (begin + index * width), one(0))
            c = self.coefficients[index.astype(np.int64)]
            c0, c1, c2, c3 = (np.ascontiguousarray(c[..., power]) for power in range(4))
            y = ((c3 * t + c2) * t + c1) * t + c0
            left = _line(x, one(self.left_slope), one(self.left_intercept))
            right = _line(x, one(self.right_slope), one(self.right_intercept))
            y = np.where(low, left, np.where(high, right, y))
        result: Vector = np.where(np.isnan(x), x, y)
        return result


def _line(x: Vector, slope: np.float32, intercept: np.float32) -> Vector:
    if slope == 0:
        return np.full_like(x, intercept)
    return x * slope + intercept
