"""Where the elements of a region come from: a checkpoint tensor seen as rows, or a generated table.

Views wherever possible: a transposed tensor is read through its strides, a
block at a time, so that no tensor is held in memory twice.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from compiler.checkpoint.generated import generated_table
from compiler.dtypes import FLOAT32, DType
from compiler.graph.ir import Graph
from compiler.mapping.regions import parameter_of_region
from compiler.memory_map import Region
from compiler.rounding import Stored


class Tensors(Protocol):
    """The tensors of a checkpoint; `checkpoint.binary.ModelFile` is one."""

    def array(self, name: str) -> Stored:
        """A tensor in its own shape."""
        ...

    def dtype(self, name: str) -> DType:
        """The dtype of a tensor."""
        ...


class Sources:
    """The source tensors of the regions of a graph.

    Attributes:
        clamp: values beyond the build's dtype become its largest, not infinite.
    """

    def __init__(self, graph: Graph, tensors: Tensors, *, clamp: bool = False) -> None:
        self.clamp = clamp
        self._parameters = {parameter.name: parameter for parameter in graph.parameters}
        self._tensors = tensors

    def rows(self, region: Region) -> tuple[Stored, DType]:
        """Rows and columns to which the segments of `region` refer, and their dtype.

        Rows are outputs and columns inputs, whichever way the checkpoint stores them.
        """
        parameter = self._parameters[parameter_of_region(region.name)]
        if parameter.generated is not None:
            return generated_table(parameter.generated, region.rows), FLOAT32
        names = [name for name, _ in parameter.tensors]
        dtype = self._tensors.dtype(names[0])
        if parameter.parts:
            return np.concatenate([self._tensors.array(name).reshape(-1, 1) for name in names]), dtype
        array = self._tensors.array(names[0])
        if parameter.plane is not None:
            array = array[parameter.plane.index]
        if parameter.transposed:
            array = array.T
        if parameter.plane is not None:
            array = array[parameter.plane.first :: parameter.plane.step][: parameter.shape[0]]
        return array.reshape(-1, parameter.shape[1] if len(parameter.shape) == 2 else 1), dtype
