"""The converted model, mapped into memory: arrays by tensor name, without copies."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from compiler.checkpoint.converted import MODEL_NAME, ConvertedModel, ConvertedTensor, load_converted
from compiler.checkpoint.fingerprint import check_model_file
from compiler.dtypes import DType
from compiler.errors import ArtifactError
from compiler.header import HEADER_BYTES
from compiler.rounding import Stored, cast, storage
from compiler.sanitize import one_line

__all__ = ["ModelFile", "cast", "open_model"]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """`hyperdex_model.bin` and its description.

    Attributes:
        model: the content of `hyperdex_config.json`.
    """

    model: ConvertedModel
    _tensors: Mapping[str, ConvertedTensor]
    _content: npt.NDArray[np.uint8]

    def tensor(self, name: str) -> ConvertedTensor:
        """The description of a tensor.

        Raises:
            ArtifactError: there is no such tensor.
        """
        if name not in self._tensors:
            raise ArtifactError(
                f"{MODEL_NAME} holds no tensor {one_line(name, 160)!r}", "compile the model again with --force"
            )
        return self._tensors[name]

    def dtype(self, name: str) -> DType:
        """The dtype of a tensor."""
        return self.tensor(name).dtype

    def array(self, name: str) -> Stored:
        """A read-only view of a tensor in its own shape; bfloat16 is uint16 bits, a tied tensor the other's view."""
        tensor = self.tensor(name)
        content = self._content[tensor.offset : tensor.offset + tensor.bytes]
        return content.view(storage(tensor.dtype)).reshape(tensor.shape)

    def check(self, name: str) -> None:
        """Read a tensor and compare it with its checksum (about 5 GB/s).

        Raises:
            ArtifactError: its bytes are not those that were written.
        """
        tensor = self.tensor(name)
        content = self._content[tensor.offset : tensor.offset + tensor.bytes]
        if zlib.crc32(content.data) != tensor.crc32:
            raise ArtifactError(
                f"{MODEL_NAME} is damaged: tensor {one_line(name, 160)!r} does not match its checksum",
                "compile the model again with --force",
            )

    def check_all(self) -> None:
        """Read every byte of the file and compare it with what was written.

        Raises:
            ArtifactError: naming the tensor that does not match, or the gap that is not empty.
        """
        end = HEADER_BYTES
        for name, tensor in self._tensors.items():
            if tensor.tied_to:
                continue
            if self._content[end : tensor.offset].any():
                raise ArtifactError(
                    f"{MODEL_NAME} is damaged: the gap before tensor {one_line(name, 160)!r} is not empty",
                    "compile the model again with --force",
                )
            self.check(name)
            end = tensor.offset + tensor.bytes


def open_model(folder: Path) -> ModelFile:
    """Map the converted model of a checkpoint folder.

    Raises:
        ArtifactError: not converted, damaged, or the two files do not belong together.
    """
    model = load_converted(folder)
    if model is None:
        raise ArtifactError(f"{folder} holds no converted model", "compile the model first")
    check_model_file(folder, model.file_bytes, model.flags)
    path = folder / MODEL_NAME
    try:
        content = np.memmap(path, np.uint8, "r", shape=(model.file_bytes,))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be mapped: {error}", "compile the model again with --force") from None
    return ModelFile(model, {tensor.name: tensor for tensor in model.tensors}, content.view(np.ndarray))
