"""Importers: a model file, or a PyTorch module, in; a ``Graph`` out.

``load`` looks at what it is given. The packages behind it are loaded only when their format is met.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tinyopt.errors import ModelError
from tinyopt.graph import Graph

__all__ = ["load"]

_FORMATS = "TFLite (.tflite), ONNX (.onnx), PyTorch export (.pt2) and tinyopt (.tinyopt)"
_LAYOUTS = ("nchw", "nhwc")


def load(
    model: Any,
    *,
    example_inputs: Any = None,
    name: str | None = None,
    input_layout: str = "nchw",
) -> Graph:
    """A graph from a model of any format.

    ``model``: the path or the bytes of a TFLite, ONNX, PyTorch export or tinyopt file (told apart by content), a
    ``torch.export.ExportedProgram``, or a ``torch.nn.Module`` together with ``example_inputs`` (a tensor, or a tuple of
    them, batch of one). ``input_layout``: ``nchw`` keeps the image inputs of ONNX and PyTorch models as they are,
    ``nhwc`` makes them channels-last; TFLite models are channels-last anyway. What the user should know about the
    import is in ``graph.metadata["notes"]``.

    Raises:
        UnsupportedOperatorsError: listing every operator of the model that tinyopt does not have.
        ModelError: when the model cannot be read, is of no known format, or is damaged.
    """
    if input_layout not in _LAYOUTS:
        raise ModelError(f"the input layout must be nchw or nhwc, got '{input_layout}'")
    if isinstance(model, Graph):
        return model
    if isinstance(model, (str, Path)):
        return _from_path(Path(model), name, input_layout)
    if isinstance(model, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(model), "the model", name, input_layout, None)
    torch = sys.modules.get("torch")  # whoever holds a module has loaded torch
    if torch is not None and isinstance(model, (torch.nn.Module, torch.export.ExportedProgram)):
        from tinyopt.importers.pytorch import import_torch

        return import_torch(model, example_inputs, name=name, input_layout=input_layout)
    raise ModelError(f"a model is a path, bytes or a PyTorch module, got {type(model).__name__}")


def _from_path(path: Path, name: str | None, input_layout: str) -> Graph:
    from tinyopt.importers.files import read_bytes

    return _from_bytes(read_bytes(path), str(path), name or path.stem, input_layout, path)


def _from_bytes(data: bytes, source: str, name: str | None, input_layout: str, path: Path | None) -> Graph:
    """Dispatch on the content; ``path`` is given along to the formats that have files beside the model."""
    kind = _kind(data, path)
    if kind == "tflite":
        from tinyopt.importers.tflite import import_tflite

        return import_tflite(data, name=name, source=source)
    if kind == "tinyopt":
        from tinyopt.graph import load_graph

        if path is None:
            raise ModelError("a tinyopt model is loaded by its path")
        return load_graph(path)
    if kind == "torch":
        from tinyopt.importers.pytorch import import_torch

        return import_torch(path or data, name=name, input_layout=input_layout)
    if kind == "onnx":
        from tinyopt.importers.onnx import import_onnx

        return import_onnx(path or data, name=name, input_layout=input_layout)
    raise ModelError(f"{source} is of no known format; tinyopt reads {_FORMATS}{_hint(data)}")


def _kind(data: bytes, path: Path | None) -> str | None:
    if data[4:8] == b"TFL3":
        return "tflite"
    if data[:4] == b"PK\x03\x04":
        return "tinyopt" if b"graph.json" in data[:64] else "torch"
    suffix = "" if path is None else path.suffix.lower()
    if suffix in (".tflite", ".lite"):
        return "tflite"  # the reader says what is wrong
    # An ONNX file is a protobuf without a signature; its first field is the version of the format, a small number.
    if suffix == ".onnx" or (len(data) > 2 and data[0] == 0x08 and 0 < data[1] < 0x40):
        return "onnx"
    return {".pt2": "torch", ".tinyopt": "tinyopt"}.get(suffix)


def _hint(data: bytes) -> str:
    start = data[:64].lstrip()
    if start.startswith(b"version https://git-lfs"):
        return " (it is a Git LFS pointer: fetch the file itself with `git lfs pull`)"
    if start[:1] == b"<":
        return " (it looks like a web page: the download has failed)"
    if start[:1] == b"\x80" or data[:2] == b"\x80\x02":
        return " (it looks like a pickle: export the module with torch.export.save)"
    if data[:8] == b"\x89HDF\r\n\x1a\n":
        return " (it is a Keras file: convert it with tf.lite.TFLiteConverter)"
    return ""
