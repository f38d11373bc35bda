"""tinyopt's own model file (``.tinyopt``): a zip of ``graph.json`` and one ``.npy`` per constant.

The format holds exactly what a ``Graph`` holds, so that a quantized or compressed model can be saved and taken up
again without loss. Reading checks every field; nothing in a file is executed.
"""

from __future__ import annotations

import io
import json
import types
import typing
import zipfile
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from tinyopt.errors import GraphError, ModelError
from tinyopt.graph import ops
from tinyopt.graph.graph import Graph, Operator, State
from tinyopt.graph.types import Array, DType, Quantization, Tensor

SUFFIX = ".tinyopt"
_FORMAT = 1
_KINDS: dict[str, type[ops.Attributes]] = {
    name: kind
    for name, kind in vars(ops).items()
    if isinstance(kind, type) and issubclass(kind, ops.Attributes) and is_dataclass(kind)
}
_MAX_BYTES = 1 << 31


def save_graph(graph: Graph, path: str | Path) -> None:
    """Write a graph; the file appears whole or not at all."""
    path = Path(path)
    arrays: dict[str, Array] = {}

    def store(array: Array) -> str:
        key = f"a{len(arrays)}.npy"
        arrays[key] = array
        return key

    document = {
        "tinyopt": _FORMAT,
        "name": graph.name,
        "metadata": dict(graph.metadata),
        "tensors": [
            {
                "name": t.name,
                "shape": list(t.shape),
                "dtype": t.dtype.value,
                "data": None if t.data is None else store(t.data),
                "quantization": _encode(t.quantization),
            }
            for t in graph.tensors.values()
        ],
        "operators": [
            {
                "name": o.name,
                "kind": type(o.attributes).__name__,
                "attributes": _encode(o.attributes),
                "inputs": list(o.inputs),
                "outputs": list(o.outputs),
            }
            for o in graph.operators
        ],
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "states": [
            {"name": s.name, "read": s.read, "write": s.write, "initial": store(s.initial)} for s in graph.states
        ],
    }
    temporary = path.with_name(f".{path.name}.part")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_entry("graph.json"), json.dumps(document, indent=1))
            for key, array in arrays.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, array, allow_pickle=False)
                archive.writestr(_entry(key), buffer.getvalue())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry with a fixed date: the same graph gives the same bytes."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def load_graph(path: str | Path) -> Graph:
    """Read a graph that ``save_graph`` wrote.

    Raises:
        ModelError: when the file is no tinyopt model, or is damaged (says where).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > _MAX_BYTES:
                raise ModelError(f"{path} unpacks to more than {_MAX_BYTES >> 30} GiB; it is not a tinyopt model")
            document = json.loads(archive.read("graph.json"))
            return _decode_graph(document, lambda key: _read_array(archive, key))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        OSError,
        RecursionError,
        EOFError,
    ) as e:
        raise ModelError(f"{path} is not a readable tinyopt model: {type(e).__name__}: {e}") from None
    except Exception as error:  # zlib and struct errors of damaged archives have no common base
        raise ModelError(f"{path} is damaged: {type(error).__name__}: {error}") from None


def _read_array(archive: zipfile.ZipFile, key: str) -> Array:
    with archive.open(key) as stream:
        array: Array = np.lib.format.read_array(io.BytesIO(stream.read()), allow_pickle=False)
        return array


def _decode_graph(document: dict[str, Any], read: typing.Callable[[str], Array]) -> Graph:
    if document.get("tinyopt") != _FORMAT:
        raise ModelError(f"format {document.get('tinyopt')!r} is not known to this version of tinyopt")
    tensors = {}
    for item in document["tensors"]:
        data = None if item["data"] is None else read(item["data"])
        quantization = _decode(Quantization, item["quantization"]) if item["quantization"] is not None else None
        tensors[item["name"]] = Tensor(item["name"], tuple(item["shape"]), DType(item["dtype"]), data, quantization)
    operators = []
    for item in document["operators"]:
        if item["kind"] not in _KINDS:
            raise GraphError(f"operator '{item['name']}' has the unknown kind '{item['kind']}'")
        attributes = _decode(_KINDS[item["kind"]], item["attributes"])
        operators.append(Operator(item["name"], attributes, tuple(item["inputs"]), tuple(item["outputs"])))
    return Graph(
        document["name"],
        tensors,
        tuple(operators),
        tuple(document["inputs"]),
        tuple(document["outputs"]),
        tuple(State(s["name"], s["read"], s["write"], read(s["initial"])) for s in document["states"]),
        document["metadata"],
    )


def _encode(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [_encode(item) for item in value]
    return value


def _decode(kind: Any, value: Any) -> Any:
    """A value of the annotated type ``kind`` from plain JSON data; raises GraphError when it does not fit."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _decode(next(a for a in arguments if a is not type(None)), value)
    if origin is tuple:
        items = list(value)
        inner = arguments[:1] * len(items) if arguments[-1:] == (Ellipsis,) else arguments
        if len(inner) != len(items):
            raise GraphError(f"{value!r} should have {len(inner)} entries")
        return tuple(_decode(i, v) for i, v in zip(inner, items))
    if isinstance(kind, type) and is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        known = {field.name for field in fields(kind)}
        unknown = set(value) - known
        if unknown:
            raise GraphError(f"{kind.__name__} has no field {sorted(unknown)}")
        return kind(**{name: _decode(hints[name], item) for name, item in value.items()})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind in (int, bool, str) and type(value) is kind:
        return value
    raise GraphError(f"{value!r} is not a {getattr(kind, '__name__', kind)}")
