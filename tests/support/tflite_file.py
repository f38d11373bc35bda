"""TFLite files from plain Python values, through the flatbuffer builders that the ``tflite`` package generates.

This is the low level: any file can be described, also a wrong one. ``tflite_writer`` makes such descriptions from
graphs.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite

TYPES = {
    "float32": tflite.TensorType.FLOAT32,
    "float16": tflite.TensorType.FLOAT16,
    "int32": tflite.TensorType.INT32,
    "uint8": tflite.TensorType.UINT8,
    "int64": tflite.TensorType.INT64,
    "bool": tflite.TensorType.BOOL,
    "int16": tflite.TensorType.INT16,
    "int8": tflite.TensorType.INT8,
    "float64": tflite.TensorType.FLOAT64,
    "resource": tflite.TensorType.RESOURCE,
}


@dataclass
class FileTensor:
    """One tensor of a subgraph. ``data`` set: a constant, held in a buffer of its own."""

    name: str
    shape: Sequence[int]
    dtype: str
    data: np.ndarray | bytes | None = None
    scales: Sequence[float] = ()
    zero_points: Sequence[int] = ()
    axis: int = 0
    shape_signature: Sequence[int] | None = None
    is_variable: bool = False


@dataclass
class FileOperator:
    """One operator: builtin code (``CONV_2D``), tensor indices (-1: absent), options as (table name, fields)."""

    code: str | int
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: tuple[str, Mapping[str, Any]] | None = None
    version: int = 1
    custom_code: str | None = None
    intermediates: Sequence[int] = ()


@dataclass
class FileSubgraph:
    name: str = "main"
    tensors: list[FileTensor] = field(default_factory=list)
    operators: list[FileOperator] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def add(self, name: str, shape: Sequence[int], dtype: str, data: Any = None, **more: Any) -> int:
        """Add a tensor and return its index."""
        self.tensors.append(FileTensor(name, tuple(shape), dtype, data, **more))
        return len(self.tensors) - 1

    def constant(self, name: str, data: Any, **more: Any) -> int:
        data = np.asarray(data)
        return self.add(name, data.shape, data.dtype.name, data, **more)

    def operator(
        self,
        code: str | int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str | None = None,
        *,
        version: int = 1,
        custom_code: str | None = None,
        intermediates: Sequence[int] = (),
        **values: Any,
    ) -> None:
        """Add an operator; ``values`` are the fields of the options table, spelled as in the schema (stride_w …)."""
        table = None if options is None else (options, values)
        self.operators.append(
            FileOperator(code, tuple(inputs), tuple(outputs), table, version, custom_code, tuple(intermediates))
        )


def serialise(
    subgraphs: Sequence[FileSubgraph],
    *,
    description: str = "tinyopt tests",
    version: int = 3,
    metadata: Mapping[str, bytes] | None = None,
    external_buffers: bool = False,
    share_vectors: bool = False,
) -> bytes:
    """The bytes of a TFLite file. ``external_buffers``: constants behind the flatbuffer, as in files over 2 GB.
    ``share_vectors``: equal vectors of numbers are written once, which no converter does but the format allows."""
    writer = _Writer(external_buffers, share_vectors)
    data = writer.finish(subgraphs, description, version, metadata or {})
    if not external_buffers:
        return data
    # Two passes: offsets are written with placeholders first, the size of the flatbuffer does not change.
    writer = _Writer(external_buffers, share_vectors, start=(len(data) + 15) // 16 * 16)
    head = writer.finish(subgraphs, description, version, metadata or {})
    assert len(head) == len(data)
    return head.ljust(writer.start, b"\0") + bytes(writer.tail)


class _Writer:
    def __init__(self, external: bool, share: bool, start: int = 1 << 20) -> None:
        self.vectors: dict[bytes, int] | None = {} if share else None
        self.builder = flatbuffers.Builder(4096)
        self.external = external
        self.start = start
        self.tail = bytearray()
        self.buffers: list[bytes] = [b""]
        self.codes: list[tuple[int, str | None, int]] = []

    def finish(
        self, subgraphs: Sequence[FileSubgraph], description: str, version: int, metadata: Mapping[str, bytes]
    ) -> bytes:
        builder = self.builder
        parts = [self._subgraph(subgraph) for subgraph in subgraphs]
        entries = []
        for name, value in metadata.items():
            text = builder.CreateString(name)
            index = self._buffer(value)
            entries.append(self._table("Metadata", name=("offset", text), buffer=index))
        buffers = self._offsets([self._write_buffer(i, data) for i, data in enumerate(self.buffers)])
        codes = self._offsets([self._code(*code) for code in self.codes])
        subgraph_vector = self._offsets(parts)
        metadata_vector = self._offsets(entries)
        text = builder.CreateString(description)
        model = self._table(
            "Model",
            version=version,
            operator_codes=("offset", codes),
            subgraphs=("offset", subgraph_vector),
            description=("offset", text),
            buffers=("offset", buffers),
            **({"metadata": ("offset", metadata_vector)} if entries else {}),
        )
        builder.Finish(model, b"TFL3")
        return bytes(builder.Output())

    # ---- tables ----

    def _table(self, table: str, **values: Any) -> int:
        """A table; a value is a number, or ("offset", n), or a list, or a string (created first)."""
        module = importlib.import_module(f"tflite.{table}")
        ready = {}
        for name, value in values.items():
            if isinstance(value, str):
                value = ("offset", self.builder.CreateString(value))
            elif isinstance(value, (list, np.ndarray)):
                value = ("offset", self._numbers(value))
            ready[name] = value
        getattr(module, f"{table}Start")(self.builder)
        for name, value in ready.items():
            add = getattr(module, f"{table}Add{_camel(name)}")
            add(self.builder, value[1] if isinstance(value, tuple) else value)
        return int(getattr(module, f"{table}End")(self.builder))

    def _numbers(self, values: Sequence[Any] | np.ndarray) -> int:
        array = np.asarray(values)
        if array.dtype == np.int64 and not isinstance(values, np.ndarray):
            array = array.astype(np.int32)
        if array.size == 0:
            self.builder.StartVector(4, 0, 4)
            return int(self.builder.EndVector())
        if self.vectors is None:
            return int(self.builder.CreateNumpyVector(array))
        key = array.dtype.char.encode() + array.tobytes()
        if key not in self.vectors:
            self.vectors[key] = int(self.builder.CreateNumpyVector(array))
        return self.vectors[key]

    def _offsets(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def _subgraph(self, subgraph: FileSubgraph) -> int:
        tensors = self._offsets([self._tensor(tensor) for tensor in subgraph.tensors])
        operators = self._offsets([self._operator(operator) for operator in subgraph.operators])
        return self._table(
            "SubGraph",
            tensors=("offset", tensors),
            operators=("offset", operators),
            inputs=[int(i) for i in subgraph.inputs],
            outputs=[int(i) for i in subgraph.outputs],
            name=subgraph.name,
        )

    def _tensor(self, tensor: FileTensor) -> int:
        values: dict[str, Any] = {
            "shape": [int(d) for d in tensor.shape],
            "type": TYPES[tensor.dtype],
            "buffer": 0 if tensor.data is None else self._buffer(_bytes(tensor.data)),
            "name": tensor.name,
            "is_variable": tensor.is_variable,
        }
        if tensor.shape_signature is not None:
            values["shape_signature"] = [int(d) for d in tensor.shape_signature]
        if len(tensor.scales):
            quantization = self._table(
                "QuantizationParameters",
                scale=np.asarray(tensor.scales, np.float32),
                zero_point=np.asarray(tensor.zero_points, np.int64),
                quantized_dimension=tensor.axis,
            )
            values["quantization"] = ("offset", quantization)
        return self._table("Tensor", **values)

    def _operator(self, operator: FileOperator) -> int:
        code = operator.code if isinstance(operator.code, int) else getattr(tflite.BuiltinOperator, operator.code)
        key = (code, operator.custom_code, operator.version)
        if key not in self.codes:
            self.codes.append(key)
        values: dict[str, Any] = {
            "opcode_index": self.codes.index(key),
            "inputs": [int(i) for i in operator.inputs],
            "outputs": [int(i) for i in operator.outputs],
        }
        if operator.intermediates:
            values["intermediates"] = [int(i) for i in operator.intermediates]
        if operator.options is not None:
            table, fields = operator.options
            values["builtin_options"] = ("offset", self._table(table, **fields))
            values["builtin_options_type"] = getattr(tflite.BuiltinOptions, table)
        return self._table("Operator", **values)

    def _code(self, code: int, custom: str | None, version: int) -> int:
        values: dict[str, Any] = {"deprecated_builtin_code": min(code, 127), "version": version, "builtin_code": code}
        if custom is not None:
            values["custom_code"] = custom
        return self._table("OperatorCode", **values)

    # ---- buffers ----

    def _buffer(self, data: bytes) -> int:
        self.buffers.append(data)
        return len(self.buffers) - 1

    def _write_buffer(self, index: int, data: bytes) -> int:
        if index == 0:
            return self._table("Buffer")
        if self.external:
            self.tail.extend(b"\0" * (-len(self.tail) % 16))
            offset = self.start + len(self.tail)
            self.tail.extend(data)
            return self._table("Buffer", offset=offset, size=max(len(data), 1))
        builder = self.builder
        builder.StartVector(1, len(data), 16)
        head = builder.Head() - len(data)
        builder.head = head
        builder.Bytes[head : head + len(data)] = data
        return self._table("Buffer", data=("offset", builder.EndVector()))


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split("_", name))


def _bytes(data: np.ndarray | bytes) -> bytes:
    return data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()
