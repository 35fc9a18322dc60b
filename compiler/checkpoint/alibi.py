"""Attention with linear biases: one slope per head, from the number of heads alone.

Source: Press et al. (arXiv 2108.12409); the closest-power-of-two rule of
transformers' Bloom and Falcon, and the strided one of MPT.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alibi:
    """Slopes of all heads; a score grows by slope * token.

    Attributes:
        bfloat16: slope * token is rounded to bfloat16 and then scaled as the scores are (Falcon).
    """

    slopes: tuple[float, ...]
    bfloat16: bool = False


def bloom_slopes(heads: int) -> tuple[float, ...]:
    """Powers of 2**(-8 / p) for the p heads up to a power of two, every other power of its root for the rest."""
    whole = 1 << (heads.bit_length() - 1)
    base = 2.0 ** -(2.0 ** -(math.log2(whole) - 3))
    slopes = [base ** (index + 1) for index in range(whole)]
    if whole < heads:
        between = 2.0 ** -(2.0 ** -(math.log2(2 * whole) - 3))
        slopes += [between ** (2 * index + 1) for index in range(heads - whole)]
    return tuple(slopes)


def mpt_slopes(heads: int, bias_max: float) -> tuple[float, ...]:
    """Powers of 2**(-bias_max / p) for the next power of two p, the odd ones first when p exceeds the heads."""
    whole = 1 << (heads - 1).bit_length()
    slopes = [2.0 ** -(bias_max * (index + 1) / whole) for index in range(whole)]
    if whole != heads:
        slopes = (slopes[1::2] + slopes[::2])[:heads]
    return tuple(slopes)
