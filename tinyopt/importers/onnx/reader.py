"""Reading ONNX files: the protobuf, its tensors and its external data, all of it distrusted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, numpy_helper

from tinyopt.errors import ModelError
from tinyopt.graph import Array
from tinyopt.importers.files import read_bytes
from tinyopt.importers.values import MAXIMUM_ELEMENTS

OLDEST_OPSET = 7


def read_model(source: bytes | str | Path, name: str) -> tuple[Any, Path | None]:
    """The model protobuf and the directory that external data may lie in (None for bytes).

    Raises:
        ModelError: when the file cannot be read or is no ONNX model of an opset that is supported.
    """
    directory = None
    data = source
    if not isinstance(source, bytes):
        directory = Path(source).resolve().parent
        data = read_bytes(source)
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, RuntimeError, ValueError):
        raise ModelError(f"{name} is not an ONNX model: the file is damaged or truncated") from None
    if not model.graph.node and not model.graph.output:
        raise ModelError(f"{name} is not an ONNX model: it has no operators and no outputs")
    version = opset(model)
    if version < OLDEST_OPSET:
        raise ModelError(f"{name} uses ONNX opset {version}; opset {OLDEST_OPSET} and newer are supported")
    return model, directory


def opset(model: Any) -> int:
    """The version of the standard operator set."""
    versions = [int(i.version) for i in model.opset_import if i.domain in ("", "ai.onnx")]
    return max(versions, default=1)


def read_tensor(tensor: Any, directory: Path | None) -> Array:
    """The array of a tensor. bfloat16 and float16 become float32, 4-bit integers int8.

    Raises:
        ModelError: when sizes do not fit the data, or external data lies outside of the model's directory.
    """
    name = tensor.name or "a constant"
    shape = [int(d) for d in tensor.dims]
    if any(d < 0 for d in shape) or math.prod(shape) > MAXIMUM_ELEMENTS:
        raise ModelError(f"constant '{name}' has shape {shape}, which is larger than tinyopt takes")
    if tensor.data_location == TensorProto.EXTERNAL:
        tensor = _with_external_data(tensor, directory, name)
    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:
        raise ModelError(f"constant '{name}' {shape} cannot be read: {_first_line(error)}") from None
    if list(array.shape) != shape:
        raise ModelError(f"constant '{name}' is declared {shape} but holds {list(array.shape)}")
    return plain(array, name)


def plain(array: Array, name: str) -> Array:
    """An array of an element type that numpy has; raises ModelError for text and 8-bit floats."""
    kind = array.dtype.name
    if kind in ("float16", "bfloat16"):
        return array.astype(np.float32)
    if kind in ("int4", "int2"):
        return array.astype(np.int8)
    if kind in ("uint4", "uint2"):
        return array.astype(np.uint8)
    if kind not in (
        "float32",
        "float64",
        "bool",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
    ):
        raise ModelError(f"constant '{name}' has element type {kind}, which is not supported")
    return array


def _with_external_data(tensor: Any, directory: Path | None, name: str) -> Any:
    """A copy of the tensor with the bytes of its file, which must lie below the model's directory."""
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location = fields.get("location", "")
    if directory is None:
        raise ModelError(f"constant '{name}' lies in another file ('{location}'); import the model by its path")
    path = (directory / location).resolve()
    if not location or Path(location).is_absolute() or not path.is_relative_to(directory):
        raise ModelError(f"constant '{name}' points to '{location}', outside of the model's directory; refused")
    try:
        offset, length = int(fields.get("offset") or 0), int(fields.get("length") or -1)
        size = path.stat().st_size if path.is_file() else -1
        if size < 0:
            raise ModelError(f"constant '{name}' needs the file '{location}' beside the model; it is missing")
        if offset < 0 or offset + max(length, 0) > size:
            raise ModelError(f"constant '{name}' lies at {offset}+{length} of '{location}', which has {size} bytes")
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read() if length < 0 else file.read(length)
    except (OSError, ValueError) as error:
        raise ModelError(f"constant '{name}' cannot be read from '{location}': {error}") from None
    copy = TensorProto(dims=tensor.dims, data_type=tensor.data_type, name=tensor.name)
    copy.raw_data = data
    return copy


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
