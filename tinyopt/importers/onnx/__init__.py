"""ONNX: float32 and quantized models, opset 7 and newer, into a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tinyopt.errors import ModelError
from tinyopt.graph import Graph
from tinyopt.importers.onnx.lowering import OnnxLowering
from tinyopt.importers.onnx.reader import read_model
from tinyopt.importers.patterns import fuse_activations
from tinyopt.importers.qdq import fold_quantization
from tinyopt.importers.signs import fuse_signs

__all__ = ["import_onnx"]


def import_onnx(
    source: bytes | str | Path,
    *,
    name: str | None = None,
    input_layout: str = "nchw",
    output_layout: str = "nchw",
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> Graph:
    """Import an ONNX model.

    ``source``: path or bytes. ``input_layout`` and ``output_layout``: ``"nchw"`` keeps the model's order; ``"nhwc"``
    makes four-axis inputs or outputs channels-last. ``input_shapes``: input name → shape, for sizes that the file
    leaves open (an open batch becomes one by itself). Quantized operators (QDQ and QLinear) become int8 operators
    where they fit TensorFlow Lite's scheme; the rest stays float32 and is named in the notes.

    Raises:
        ModelError: when the file cannot be read, is inconsistent, or leaves a size open.
        UnsupportedOperatorsError: with all operators that the graph cannot express.
    """
    for layout in (input_layout, output_layout):
        if layout not in ("nchw", "nhwc"):
            raise ModelError(f"layout '{layout}' is unknown; choose 'nchw' or 'nhwc'")
    label = "the model" if isinstance(source, bytes) else str(source)
    model, directory = read_model(source, label)
    name = name or ("model" if isinstance(source, bytes) else Path(source).stem)
    lowering = OnnxLowering(
        model, directory, name, (input_layout == "nhwc", output_layout == "nhwc"), input_shapes or {}
    )
    return fold_quantization(fuse_activations(fuse_signs(lowering.run())))
