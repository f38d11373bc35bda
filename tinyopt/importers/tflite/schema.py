"""The content of a TFLite file as plain values, read defensively.

A flatbuffer is offsets into a byte string; in a damaged file they point anywhere. Everything that the importer needs
is therefore read here, once: each length is checked against the file, each count against a limit, and whatever goes
wrong becomes a ``ModelError``. Constants stay views of the file's bytes.

Format: tensorflow/lite/schema/schema.fbs, version 3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import tflite

from tinyopt.errors import ModelError
from tinyopt.graph import Array, Shape

IDENTIFIER = b"TFL3"
MAXIMUM_RANK = 8
MAXIMUM_ENTRIES = 65_536
"""Most tensors, operators or buffers of a file. Models for microcontrollers have hundreds."""

DAMAGE = (
    struct.error,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
"""What reading a damaged flatbuffer raises."""

_EMPTY_TABLE = b"\x04\x00\x04\x00\x04\x00\x00\x00"

_WINDOW = ("Padding", "StrideH", "StrideW", "FusedActivationFunction")
_DILATED = (*_WINDOW, "DilationHFactor", "DilationWFactor")
_RESIZE = ("AlignCorners", "HalfPixelCenters")

OPTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", _DILATED),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*_DILATED, "DepthMultiplier")),
    "TRANSPOSE_CONV": ("TransposeConvOptions", _WINDOW),
    "FULLY_CONNECTED": (
        "FullyConnectedOptions",
        ("FusedActivationFunction", "KeepNumDims", "WeightsFormat", "AsymmetricQuantizeInputs"),
    ),
    "BATCH_MATMUL": ("BatchMatMulOptions", ("AdjX", "AdjY")),
    "MAX_POOL_2D": ("Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth")),
    "AVERAGE_POOL_2D": ("Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth")),
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "SUB": ("SubOptions", ("FusedActivationFunction",)),
    "MUL": ("MulOptions", ("FusedActivationFunction",)),
    "DIV": ("DivOptions", ("FusedActivationFunction",)),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "SUM": ("ReducerOptions", ("KeepDims",)),
    "REDUCE_MAX": ("ReducerOptions", ("KeepDims",)),
    "REDUCE_MIN": ("ReducerOptions", ("KeepDims",)),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
    "LEAKY_RELU": ("LeakyReluOptions", ("Alpha",)),
    "GELU": ("GeluOptions", ("Approximate",)),
    "MIRROR_PAD": ("MirrorPadOptions", ("Mode",)),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
    "STRIDED_SLICE": (
        "StridedSliceOptions",
        ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset"),
    ),
    "GATHER": ("GatherOptions", ("Axis", "BatchDims")),
    "PACK": ("PackOptions", ("Axis",)),
    "UNPACK": ("UnpackOptions", ("Axis", "Num")),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", _RESIZE),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", _RESIZE),
    "SPACE_TO_DEPTH": ("SpaceToDepthOptions", ("BlockSize",)),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", ("BlockSize",)),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        "UnidirectionalSequenceLSTMOptions",
        ("FusedActivationFunction", "CellClip", "TimeMajor", "DiagonalRecurrentTensors"),
    ),
    "VAR_HANDLE": ("VarHandleOptions", ("Container", "SharedName")),
    "CALL_ONCE": ("CallOnceOptions", ("InitSubgraphIndex",)),
}
"""Operator → its options table and the fields that the importer reads."""


@dataclass(frozen=True)
class FileTensor:
    """A tensor as the file declares it. ``data`` is the buffer, None where the tensor has no constant value."""

    index: int
    name: str
    shape: Shape
    signature: Shape
    type_code: int
    data: Array | None
    scales: Array
    zero_points: Array
    axis: int
    custom_quantization: bool
    is_variable: bool


@dataclass(frozen=True)
class FileOperator:
    """An operator as the file declares it; absent optional inputs are -1."""

    index: int
    code: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class FileSubgraph:
    name: str
    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class FileModel:
    """A whole file. ``runtime``: the oldest TensorFlow that runs it, where the converter noted that."""

    version: int
    description: str
    runtime: str
    subgraphs: tuple[FileSubgraph, ...]
    size: int

    def describe(self) -> str:
        text = f"TFLite schema {self.version}"
        return f"{text}, runtime {self.runtime}" if self.runtime else text


def type_name(code: int) -> str:
    """The name of an element type of the schema: ``FLOAT32``, ``RESOURCE`` …"""
    return _names(tflite.TensorType).get(code, f"type {code}")


def read_model(data: bytes, source: str) -> FileModel:
    """Read a file.

    Raises:
        ModelError: when the bytes are no TFLite file, or a damaged one.
    """
    if len(data) < 16 or data[4:8] != IDENTIFIER:
        raise ModelError(f"{source} is not a TFLite model (the identifier TFL3 is missing)")
    reader = _Reader(data, source)
    try:
        return reader.model()
    except DAMAGE:  # the generated reader's own words (struct, numpy) mean nothing to the person at the terminal
        raise ModelError(
            f"{source} is damaged or truncated: {reader.place} cannot be read, "
            f"an offset or a length leads out of the {len(data)} bytes of the file"
        ) from None


class _Reader:
    def __init__(self, data: bytes, source: str) -> None:
        self.data = data
        self.source = source
        self.place = "the model table"
        self.links = len(data) // 4

    def model(self) -> FileModel:
        model = tflite.Model.GetRootAs(self.data, 0)
        version = int(model.Version())
        if version != 3:
            raise ModelError(f"{self.source} has TFLite schema version {version}; only version 3 is supported")
        self.place = "the operator codes"
        codes = [self.code(model.OperatorCodes(i)) for i in self.count(model.OperatorCodesLength(), "operator codes")]
        buffers = []
        for i in self.count(model.BuffersLength(), "buffers"):
            self.place = f"buffer {i}"
            buffers.append(self.buffer(model.Buffers(i), i))
        self.place = "the metadata"
        runtime = self.runtime(model, buffers)
        description = self.text(model.Description())
        subgraphs = []
        self.entries = 0
        for i in self.count(model.SubgraphsLength(), "subgraphs"):
            subgraphs.append(self.subgraph(model.Subgraphs(i), i, codes, buffers))
        if not subgraphs:
            raise ModelError(f"{self.source} has no subgraph")
        return FileModel(version, description, runtime, tuple(subgraphs), len(self.data))

    def count(self, length: int, what: str) -> range:
        if length > MAXIMUM_ENTRIES:
            raise ModelError(f"{self.source} claims to have {length} {what}; the limit is {MAXIMUM_ENTRIES}")
        return range(length)

    @staticmethod
    def text(value: bytes | None) -> str:
        return "" if value is None else bytes(value[:4096]).decode("utf-8", "replace")

    def code(self, code: Any) -> tuple[str, int]:
        # Codes up to 126 are in the old byte field of files that older converters wrote; newer ones fill both.
        builtin = max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))
        names = _names(tflite.BuiltinOperator)
        name = names.get(builtin, f"builtin operator {builtin}")
        if name == "CUSTOM":
            name = f"custom operator {self.text(code.CustomCode()) or '(unnamed)'}"
        return name, int(code.Version())

    def buffer(self, buffer: Any, index: int) -> Array | None:
        offset, size = int(buffer.Offset()), int(buffer.Size())
        if offset > 1:  # constants behind the flatbuffer, of files over 2 GB
            if offset + size > len(self.data):
                raise ModelError(
                    f"{self.source} is truncated: buffer {index} lies at {offset}..{offset + size}, "
                    f"the file has {len(self.data)} bytes"
                )
            return np.frombuffer(self.data, np.uint8, size, offset)
        if buffer.DataIsNone():
            return None
        array: Array = buffer.DataAsNumpy()
        return array if array.size else None

    def runtime(self, model: Any, buffers: list[Array | None]) -> str:
        for i in self.count(model.MetadataLength(), "metadata entries"):
            entry = model.Metadata(i)
            if entry.Name() == b"min_runtime_version" and 0 <= entry.Buffer() < len(buffers):
                content = buffers[entry.Buffer()]
                if content is not None:
                    return self.text(content[:16].tobytes().rstrip(b"\0"))
        return ""

    def subgraph(
        self, subgraph: Any, number: int, codes: list[tuple[str, int]], buffers: list[Array | None]
    ) -> FileSubgraph:
        self.place = f"subgraph {number}"
        tensors = []
        for i in self.count(subgraph.TensorsLength(), "tensors"):
            self.place = f"tensor {i} of subgraph {number}"
            tensors.append(self.tensor(subgraph.Tensors(i), i, buffers))
        operators = []
        for i in self.count(subgraph.OperatorsLength(), "operators"):
            self.place = f"operator {i} of subgraph {number}"
            operators.append(self.operator(subgraph.Operators(i), i, codes, len(tensors)))
        self.place = f"the inputs and outputs of subgraph {number}"
        ends = [self.links_of(values, len(tensors)) for values in (subgraph.InputsAsNumpy(), subgraph.OutputsAsNumpy())]
        if any(index < 0 for end in ends for index in end):
            raise ModelError(f"{self.source}: a subgraph input or output is no tensor")
        self.entries += len(tensors) + len(operators)
        if self.entries > 2 * MAXIMUM_ENTRIES:
            raise ModelError(f"{self.source} claims to have more than {2 * MAXIMUM_ENTRIES} tensors and operators")
        return FileSubgraph(self.text(subgraph.Name()), tuple(tensors), tuple(operators), ends[0], ends[1])

    def links_of(self, values: Any, tensors: int) -> tuple[int, ...]:
        """A vector of tensor indices (the generated reader gives 0 for an absent one)."""
        if isinstance(values, int):
            return ()
        # Vectors that overlap could make the work quadratic in the file's size; those of a sound file do not.
        self.links -= len(values)
        if self.links < 0:
            raise ModelError(
                f"{self.source} is damaged: {self.place} has more inputs and outputs than the file can hold"
            )
        result = tuple(int(v) for v in values)
        bad = [v for v in result if not -1 <= v < tensors]
        if bad:
            raise ModelError(f"{self.source} is damaged: {self.place} uses tensor {bad[0]} of {tensors}")
        return result

    def tensor(self, tensor: Any, index: int, buffers: list[Array | None]) -> FileTensor:
        number = int(tensor.Buffer())
        if not 0 <= number < max(len(buffers), 1):
            raise ModelError(f"{self.source} is damaged: {self.place} uses buffer {number} of {len(buffers)}")
        quantization = tensor.Quantization()
        scales, zeros, axis, custom = np.zeros(0, np.float32), np.zeros(0, np.int64), 0, False
        if quantization is not None:
            if not quantization.ScaleIsNone():
                scales = quantization.ScaleAsNumpy()
            if not quantization.ZeroPointIsNone():
                zeros = quantization.ZeroPointAsNumpy()
            axis = int(quantization.QuantizedDimension())
            custom = int(quantization.DetailsType()) != 0
        return FileTensor(
            index=index,
            name=self.text(tensor.Name()) or f"tensor_{index}",
            shape=self.shape(tensor.ShapeAsNumpy()),
            signature=self.shape(tensor.ShapeSignatureAsNumpy()),
            type_code=int(tensor.Type()),
            data=buffers[number] if buffers else None,
            scales=scales,
            zero_points=zeros,
            axis=axis,
            custom_quantization=custom,
            is_variable=bool(tensor.IsVariable()),
        )

    def shape(self, values: Any) -> Shape:
        if isinstance(values, int):
            return ()
        if len(values) > MAXIMUM_RANK:
            raise ModelError(f"{self.source}: {self.place} has {len(values)} axes; the limit is {MAXIMUM_RANK}")
        return tuple(int(v) for v in values)

    def operator(self, operator: Any, index: int, codes: list[tuple[str, int]], tensors: int) -> FileOperator:
        number = int(operator.OpcodeIndex())
        if number >= len(codes):
            raise ModelError(f"{self.source} is damaged: {self.place} uses operator code {number} of {len(codes)}")
        code, version = codes[number]
        return FileOperator(
            index=index,
            code=code,
            version=version,
            inputs=self.links_of(operator.InputsAsNumpy(), tensors),
            outputs=self.links_of(operator.OutputsAsNumpy(), tensors),
            intermediates=self.links_of(operator.IntermediatesAsNumpy(), tensors),
            options=self.options(operator, code),
        )

    def options(self, operator: Any, code: str) -> Mapping[str, Any]:
        if code not in OPTIONS:
            return {}
        name, fields = OPTIONS[code]
        table = getattr(tflite, name)()
        kind = int(operator.BuiltinOptionsType())
        source = operator.BuiltinOptions()
        if kind == 0 or source is None:
            table.Init(_EMPTY_TABLE, 4)  # an absent table means that every field has its default
        elif kind == getattr(tflite.BuiltinOptions, name):
            table.Init(source.Bytes, source.Pos)
        else:
            found = _names(tflite.BuiltinOptions).get(kind, f"kind {kind}")
            raise ModelError(f"{self.source} is damaged: {self.place} ({code}) has options of {found}")
        values = {field: getattr(table, field)() for field in fields}
        return {k: self.text(v) if isinstance(v, bytes) or v is None else v for k, v in values.items()}


@cache
def _names(enumeration: type) -> Mapping[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}
