"""Import TFLite files: float32, int8, int16 activations, hybrid, and streaming models with resource variables."""

from __future__ import annotations

from pathlib import Path

from tinyopt.errors import ModelError, UnsupportedOperatorsError
from tinyopt.graph import Graph, GraphBuilder
from tinyopt.importers.files import read_bytes
from tinyopt.importers.signs import fuse_signs
from tinyopt.importers.tflite import elementwise, layers, movement, recurrent, variables
from tinyopt.importers.tflite.lowering import LOWERINGS, CannotLower, Importer
from tinyopt.importers.tflite.schema import IDENTIFIER, read_model

__all__ = ["import_tflite", "is_tflite", "supported_operators"]
_MODULES = (elementwise, layers, movement, recurrent, variables)  # importing them registers the operators


def is_tflite(data: bytes) -> bool:
    """Whether the bytes carry the identifier of a TFLite file."""
    return data[4:8] == IDENTIFIER


def supported_operators() -> list[str]:
    """The builtin operators of the schema that can be imported, sorted."""
    return sorted(LOWERINGS)


def import_tflite(model: str | Path | bytes, *, name: str | None = None, source: str | None = None) -> Graph:
    """Read a TFLite file (a path, or its bytes) into a graph.

    The first subgraph is the model. Quantization parameters, shapes and names are those of the file; SAME padding
    becomes explicit, and a batch of -1 becomes 1. What the user should know is in the graph's ``notes`` metadata.
    ``source``: what error messages call the file.

    Raises:
        UnsupportedOperatorsError: listing every operator that cannot be imported.
        ModelError: when the file cannot be read, is damaged, or contradicts itself.
    """
    if isinstance(model, bytes):
        data, source = model, source or "the TFLite model"
    else:
        data, source = read_bytes(model), source or str(model)
        name = name or Path(model).stem
    content = read_model(data, source)
    try:
        return fuse_signs(Importer(content, GraphBuilder(name or "model"), source).graph())
    except UnsupportedOperatorsError:
        raise
    except (CannotLower, ModelError) as error:
        text = str(error)
        raise ModelError(text if text.startswith(source) else f"{source}: {text}") from None
