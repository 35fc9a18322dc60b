"""Element types of checkpoints and builds. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.errors import UsageError


@dataclass(frozen=True, slots=True)
class DType:
    """A floating-point element type.

    Attributes:
        name: spelling used in config files, options and manifests.
        code: value stored in artifact headers.
        itemsize: bytes per element.
        max_finite: largest magnitude that does not round to infinity.
    """

    name: str
    code: int
    itemsize: int
    max_finite: float

    def __str__(self) -> str:
        return self.name


FLOAT16 = DType("float16", 1, 2, 65504.0)
BFLOAT16 = DType("bfloat16", 2, 2, 3.3895313892515355e38)
FLOAT32 = DType("float32", 3, 4, 3.4028234663852886e38)
FLOAT64 = DType("float64", 4, 8, 1.7976931348623157e308)

SAFETENSORS_DTYPES = {"F16": FLOAT16, "BF16": BFLOAT16, "F32": FLOAT32, "F64": FLOAT64}
"""What a checkpoint may hold, by the names that safetensors and the hub use."""

BUILD_DTYPES = (FLOAT16, BFLOAT16, FLOAT32)
"""What a build can be made of; float16 is the hardware's own."""


def build_dtype(name: str) -> DType:
    """Look up a build dtype by name.

    Raises:
        UsageError: the name is not one of BUILD_DTYPES.
    """
    for dtype in BUILD_DTYPES:
        if dtype.name == name:
            return dtype
    allowed = ", ".join(dtype.name for dtype in BUILD_DTYPES)
    raise UsageError(f"dtype {name!r} is not one of {allowed}")
