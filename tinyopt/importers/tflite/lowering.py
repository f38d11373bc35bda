"""From the operators of a TFLite file to operators of the graph: the machinery. The operators are in the modules
``layers``, ``recurrent``, ``elementwise``, ``movement`` and ``variables``, one small function each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinyopt.errors import ModelError, Unsupported, UnsupportedOperatorsError
from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, Shape, Tensor, infer_shapes, ops
from tinyopt.importers import values
from tinyopt.importers.tflite.folding import fold
from tinyopt.importers.tflite.schema import DAMAGE, FileModel, FileOperator, FileTensor, type_name

_DTYPES = {
    "FLOAT32": DType.FLOAT32,
    "FLOAT16": DType.FLOAT32,  # only as constants, which are widened
    "INT8": DType.INT8,
    "INT4": DType.INT8,  # only as constants, which are unpacked
    "UINT8": DType.UINT8,
    "INT16": DType.INT16,
    "INT32": DType.INT32,
    "INT64": DType.INT64,
    "BOOL": DType.BOOL,
}
_CONSTANTS_ONLY = ("FLOAT16", "INT4")
_MAXIMUM_BYTES = (1 << 31) - 1
_MAXIMUM_NUMBERS = 65_536


class CannotLower(values.CannotLower):
    """Why one operator of the file has no form in the graph; all of them are reported together."""


Lowering = Callable[["Node"], None]
LOWERINGS: dict[str, Lowering] = {}


def lowers(*codes: str) -> Callable[[Lowering], Lowering]:
    """Register the function that lowers these operators of the schema."""

    def register(function: Lowering) -> Lowering:
        for code in codes:
            LOWERINGS[code] = function
        return function

    return register


@dataclass
class Variable:
    """A resource variable. ``current`` holds its value at this point; once it was read before it was assigned, it is
    the state ``state``, which is read from the tensor ``read``."""

    name: str
    initial: Array | None = None
    current: str | None = None
    state: str | None = None
    read: str = ""


class Importer:
    """Lowers one subgraph of a file into a builder. ``names``: tensor of the file → tensor of the graph."""

    def __init__(
        self,
        model: FileModel,
        builder: GraphBuilder,
        source: str,
        *,
        subgraph: int = 0,
        parent: Importer | None = None,
    ) -> None:
        self.model = model
        self.builder = builder
        self.source = source
        self.subgraph = model.subgraphs[subgraph]
        self.names: dict[int, str] = {}
        self.dequantized: dict[str, str] = {}
        self.handles: dict[int, tuple[str, str]] = {}
        self.states: set[str] = set()
        self.parent = parent
        self.variables: dict[tuple[str, str], Variable] = {} if parent is None else parent.variables
        self.unsupported: list[Unsupported] = [] if parent is None else parent.unsupported
        # All constants together may not be much larger than the file: a sound file shares few of its buffers.
        self.budget = (1 << 20) + 16 * model.size

    # ---- the whole ----

    def graph(self) -> Graph:
        """The graph of the main subgraph.

        Raises:
            UnsupportedOperatorsError: listing every operator that has no form in the graph.
            ModelError: when the file contradicts itself.
        """
        for index in self.subgraph.inputs:
            if index in self.names:
                raise ModelError(f"the input '{self.subgraph.tensors[index].name}' is listed twice")
            self.names[index] = self.input(self.subgraph.tensors[index])
        self.lower_operators()
        if self.unsupported:
            raise UnsupportedOperatorsError(self.source, self.model.describe(), self.unsupported)
        for index in self.subgraph.outputs:
            self.builder.output(self.value(index))
        for variable in self.variables.values():
            if variable.state is not None and variable.current is not None:
                self.builder.assign(variable.state, variable.current)
        return self.builder.build({"source": self.model.describe()})

    def input(self, declared: FileTensor) -> str:
        shape = list(declared.shape)
        for axis, size in enumerate(shape):
            dynamic = size == -1 or (axis < len(declared.signature) and declared.signature[axis] == -1)
            if dynamic and (axis > 0 or size not in (-1, 1)):
                self.builder.note(f"axis {axis} of input '{declared.name}' is dynamic; it is fixed at {max(size, 1)}")
            shape[axis] = 1 if size == -1 else size
        dtype = self.dtype(declared, constant=False)
        quantization = self.quantization(declared, dtype)
        self.one_scale(declared.name, quantization)
        return self.builder.input(declared.name, tuple(shape), dtype, quantization)

    def lower_operators(self) -> None:
        for operator in self.subgraph.operators:
            node = Node(self, operator)
            where = f"operator {operator.index} {operator.code} ('{node.name}')"
            lowering = LOWERINGS.get(operator.code)
            try:
                if lowering is None:
                    raise CannotLower("tinyopt has no such operator")
                lowering(node)
            except values.CannotLower as error:
                self.unsupported.append(Unsupported(operator.code, node.name, str(error)))
                self.stand_in(operator)
            except ModelError as error:
                if not self.unsupported:  # else it may only be a consequence of the operator that is missing
                    raise ModelError(f"{where}: {error}") from None
                self.stand_in(operator)
            except DAMAGE as error:
                raise ModelError(f"{where} is inconsistent: {error}") from None

    def stand_in(self, operator: FileOperator) -> None:
        """Pretend that the outputs exist, so that the operators behind are looked at as well."""
        for index in operator.outputs:
            if index >= 0 and index not in self.names and index not in self.handles:
                declared = self.subgraph.tensors[index]
                shape = tuple(max(d, 1) for d in declared.shape)
                dtype = _DTYPES.get(type_name(declared.type_code), DType.INT8)
                try:
                    quantization = self.quantization(declared, dtype)
                    tensor = Tensor(declared.name, shape, dtype, None, quantization)
                except ModelError:
                    tensor = Tensor(declared.name, shape, dtype)
                self.names[index] = self.builder.add_tensor(tensor)

    # ---- tensors ----

    def value(self, index: int) -> str:
        """The graph's tensor for a tensor of the file; constants are added when they are first used."""
        if index not in self.names:
            declared = self.subgraph.tensors[index]
            if declared.data is None:
                raise ModelError(f"tensor '{declared.name}' is read before anything has written it")
            self.names[index] = self.builder.add_tensor(self.constant(declared))
        return self.names[index]

    def spend(self, nbytes: int) -> None:
        """Account for the memory of a constant before it is made."""
        self.budget -= nbytes
        if self.budget < 0:
            raise ModelError(f"the constants are far larger than the file ({self.model.size} bytes)")

    def constant(self, declared: FileTensor) -> Tensor:
        kind = type_name(declared.type_code)
        dtype = self.dtype(declared, constant=True)
        shape = declared.shape
        if any(d < 0 for d in shape):
            raise ModelError(f"constant '{declared.name}' has the shape {list(shape)}")
        size = 1
        for d in shape:
            size *= d
        needed = {"FLOAT16": 2 * size, "INT4": (size + 1) // 2}.get(kind, size * dtype.itemsize)
        assert declared.data is not None
        if declared.data.size != needed:
            raise ModelError(
                f"constant '{declared.name}' ({kind}{list(shape)}) needs {needed} bytes, "
                f"its buffer holds {declared.data.size}"
            )
        self.spend(size * dtype.itemsize)
        if kind == "FLOAT16":
            data: Array = declared.data.view("<f2").astype(np.float32)
        elif kind == "INT4":
            low = (declared.data.astype(np.int8) << 4) >> 4
            data = np.stack([low, declared.data.astype(np.int8) >> 4], axis=-1).reshape(-1)[:size]
        else:
            data = declared.data.view(dtype.numpy)
        return Tensor(declared.name, shape, dtype, data.reshape(shape), self.quantization(declared, dtype))

    def dtype(self, declared: FileTensor, *, constant: bool) -> DType:
        kind = type_name(declared.type_code)
        if kind not in _DTYPES or (kind in _CONSTANTS_ONLY and not constant):
            raise CannotLower(f"tensor '{declared.name}' has the element type {kind}")
        return _DTYPES[kind]

    def quantization(self, declared: FileTensor, dtype: DType) -> Quantization | None:
        count = len(declared.scales)
        if dtype in (DType.FLOAT32, DType.BOOL) or count == 0:
            return None
        if declared.custom_quantization:
            raise ModelError(f"tensor '{declared.name}' has a quantization that is not scale and zero point")
        if count > 1 and count not in declared.shape:
            raise ModelError(f"tensor '{declared.name}' {list(declared.shape)} has {count} scales")
        zeros = declared.zero_points if len(declared.zero_points) else np.zeros(1, np.int64)
        if len(zeros) not in (1, count):
            raise ModelError(f"tensor '{declared.name}' has {count} scales but {len(zeros)} zero points")
        low, high = dtype.limits
        if int(zeros.min()) < low or int(zeros.max()) > high:
            raise ModelError(f"tensor '{declared.name}' has a zero point outside {dtype.value}")
        if count == 1:
            return Quantization.per_tensor(float(declared.scales[0]), int(zeros[0]))
        # Older converters gave the bias of a depthwise convolution the axis of its weights.
        axis = 0 if len(declared.shape) == 1 else declared.axis
        return Quantization.per_channel(declared.scales, axis, np.broadcast_to(zeros, (count,)))

    def declared(self, index: int) -> Tensor:
        """An activation as the file declares it (its shape with 1 for every size that is not fixed)."""
        tensor = self.subgraph.tensors[index]
        dtype = self.dtype(tensor, constant=False)
        shape = tuple(1 if d == -1 else d for d in tensor.shape)
        result = Tensor(tensor.name, shape, dtype, None, self.quantization(tensor, dtype))
        if result.nbytes > _MAXIMUM_BYTES:
            raise ModelError(f"tensor '{tensor.name}' is declared with {result.nbytes} bytes")
        return result

    def one_scale(self, name: str, quantization: Quantization | None) -> None:
        """Check that a tensor which is not the weights of a layer is quantized per tensor."""
        if quantization is not None and quantization.axis is not None:
            raise CannotLower(f"'{name}' has one scale per channel, which only weights may have")

    def fits(self, index: int, shape: Shape) -> bool:
        """Whether a computed shape agrees with the file; sizes that the file leaves open agree with any."""
        tensor = self.subgraph.tensors[index]
        if len(shape) != len(tensor.shape):
            return False
        signature = tensor.signature if len(tensor.signature) == len(shape) else tensor.shape
        return all(have == want or open_ == -1 for have, want, open_ in zip(shape, tensor.shape, signature))

    def state(self, stem: str, initial: Array, quantization: Quantization | None, read: str) -> tuple[str, str]:
        """A new state of the graph: its name, and the tensor that it is read from."""
        name, number = stem, 0
        while name in self.states:
            number += 1
            name = f"{stem}_{number}"
        self.states.add(name)
        return name, self.builder.state(name, initial, quantization, read=read)

    def bind(self, index: int, name: str) -> None:
        """The file's tensor ``index`` is the graph's tensor ``name`` from here on."""
        if index in self.names:
            raise ModelError(f"tensor '{self.subgraph.tensors[index].name}' is written twice")
        self.names[index] = name


class Node:
    """One operator of the file while it is lowered."""

    def __init__(self, importer: Importer, operator: FileOperator) -> None:
        self.importer = importer
        self.operator = operator
        self.code = operator.code
        tensors = importer.subgraph.tensors
        shown = [*operator.outputs, *operator.inputs]
        self.name = next((tensors[i].name for i in shown if i >= 0), f"{operator.code}_{operator.index}")

    # ---- what the operator says ----

    @property
    def count(self) -> int:
        """Number of inputs, absent ones too."""
        return len(self.operator.inputs)

    def has(self, position: int) -> bool:
        return position < self.count and self.operator.inputs[position] >= 0

    def index(self, position: int) -> int:
        if not self.has(position):
            raise ModelError(f"input {position} is missing")
        return self.operator.inputs[position]

    def input(self, position: int) -> str:
        """The name of an input in the graph."""
        return self.importer.value(self.index(position))

    def inputs(self) -> list[str]:
        return [self.input(position) for position in range(self.count)]

    def tensor(self, name: str) -> Tensor:
        return self.importer.builder.tensor(name)

    def target(self, position: int = 0) -> int:
        """The file's index of an output."""
        if position >= len(self.operator.outputs) or self.operator.outputs[position] < 0:
            raise ModelError(f"output {position} is missing")
        return self.operator.outputs[position]

    def output(self, position: int = 0) -> Tensor:
        """An output as the file declares it."""
        return self.importer.declared(self.target(position))

    def option(self, name: str) -> int:
        return int(self.operator.options[name])

    def real(self, name: str) -> float:
        return float(self.operator.options[name])

    def numbers(self, position: int, what: str) -> list[int]:
        """The values of an integer input that must be constant (axes, shapes, paddings)."""
        tensor = self.tensor(self.input(position))
        if tensor.data is None:
            raise CannotLower(f"{what} computed at run time ('{tensor.name}')")
        if tensor.dtype not in (DType.INT32, DType.INT64, DType.INT16, DType.INT8):
            raise ModelError(f"{what} '{tensor.name}' must be integers, got {tensor.dtype.value}")
        if tensor.size > _MAXIMUM_NUMBERS:
            raise ModelError(f"{what} '{tensor.name}' has {tensor.size} values")
        return [int(v) for v in tensor.data.reshape(-1)]

    def number(self, position: int, what: str) -> int:
        values = self.numbers(position, what)
        if len(values) != 1:
            raise ModelError(f"{what} must be one number, got {len(values)}")
        return values[0]

    def activation(self) -> ops.Clamp:
        kind = self.option("FusedActivationFunction")
        clamps = {0: ops.NONE, 1: ops.RELU, 2: ops.RELU_N1_TO_1, 3: ops.RELU6}
        if kind not in clamps:
            raise CannotLower("fused activation " + {4: "TANH", 5: "SIGN_BIT"}.get(kind, str(kind)))
        return clamps[kind]

    def axis(self, value: int, rank: int) -> int:
        """An axis counted from the front."""
        if not -rank <= value < rank:
            raise ModelError(f"axis {value} is out of range for {rank} axes")
        return value % rank

    def arithmetic(self, *names: str) -> DType:
        """Check that the operator can compute with these tensors: all float32, or all quantized int8 or int16.

        Raises:
            CannotLower: naming the tensor whose type is in the way.
        """
        tensors = [self.tensor(name) for name in names]
        for tensor in tensors:
            if tensor.dtype is DType.UINT8:
                raise CannotLower("uint8 quantization is the format of TensorFlow 1; convert the model again, to int8")
            if tensor.dtype not in (DType.FLOAT32, DType.INT8, DType.INT16):
                raise CannotLower(f"arithmetic on {tensor.dtype.value} values ('{tensor.name}')")
            if tensor.dtype is not DType.FLOAT32 and tensor.quantization is None:
                raise CannotLower(f"'{tensor.name}' is {tensor.dtype.value} without quantization parameters")
            self.importer.one_scale(tensor.name, tensor.quantization)
            if tensor.dtype is not tensors[0].dtype:
                raise CannotLower(
                    f"mixed element types: '{tensors[0].name}' is {tensors[0].dtype.value}, "
                    f"'{tensor.name}' is {tensor.dtype.value}"
                )
        return tensors[0].dtype

    # ---- what it becomes ----

    def emit(self, attributes: ops.Attributes, inputs: Sequence[str], target: int = 0) -> None:
        """The operator that writes output ``target``, with the type and quantization that the file declares."""
        x, output = self.tensor(inputs[0]), self.output(target)
        if not isinstance(attributes, (ops.Quantize, ops.Dequantize, ops.Cast, ops.ArgMax)):
            if x.dtype is not output.dtype:
                raise CannotLower(f"{x.dtype.value} input with {output.dtype.value} output")
            if x.quantization is not None and output.quantization is None:
                raise CannotLower(f"'{output.name}' is {output.dtype.value} without quantization parameters")
        name = self.step(attributes, inputs, output.name, output.dtype, output.quantization)
        self.finish(name, target)

    def finish(self, name: str, target: int = 0) -> None:
        """Output ``target`` is the graph's tensor ``name``; its shape must agree with the file."""
        index = self.target(target)
        tensor = self.tensor(name)
        if not self.importer.fits(index, tensor.shape):
            declared = self.importer.subgraph.tensors[index]
            raise ModelError(f"'{declared.name}' is declared {list(declared.shape)} but becomes {list(tensor.shape)}")
        self.importer.bind(index, name)

    def step(
        self,
        attributes: ops.Attributes,
        inputs: Sequence[str],
        name: str,
        dtype: DType,
        quantization: Quantization | None,
    ) -> str:
        """One operator of one output, or its value where all inputs are constants."""
        return self.steps(attributes, inputs, [name], dtype, quantization)[0]

    def steps(
        self,
        attributes: ops.Attributes,
        inputs: Sequence[str],
        names: Sequence[str],
        dtype: DType,
        quantization: Quantization | None,
    ) -> list[str]:
        builder = self.importer.builder
        self.importer.one_scale(names[0], quantization)
        tensors = [builder.tensor(name) for name in inputs]
        if all(tensor.is_constant for tensor in tensors):
            shapes = infer_shapes(attributes, [tensor.shape for tensor in tensors])
            first = Tensor(names[0], shapes[0], dtype, None, quantization)
            self.importer.spend(sum(int(np.prod(s, dtype=object)) for s in shapes) * dtype.itemsize)
            arrays = fold(attributes, tensors, first)
            if arrays is not None:
                return [
                    builder.constant(name, array.astype(dtype.numpy), quantization)
                    for name, array in zip(names, arrays, strict=True)
                ]
        return builder.add_multi(attributes, inputs, names[0], list(names), dtype, [quantization])

    def move(self, attributes: ops.Attributes, inputs: Sequence[str], target: int = 0) -> None:
        """Data movement: the numbers stay as they are, so the output keeps the input's quantization; where the file
        declares another one, a requantization follows."""
        x, output = self.tensor(inputs[0]), self.output(target)
        stem = output.name if self.keeps(x, output) else f"{output.name}/moved"
        self.finish_moved(self.step(attributes, inputs, stem, x.dtype, x.quantization), target)

    @staticmethod
    def keeps(x: Tensor, output: Tensor) -> bool:
        return x.quantization == output.quantization or x.quantization is None or output.quantization is None

    def finish_moved(self, name: str, target: int = 0) -> None:
        x, output = self.tensor(name), self.output(target)
        if x.dtype is not output.dtype:
            raise ModelError(f"'{output.name}' is declared {output.dtype.value} but becomes {x.dtype.value}")
        self.finish(name if self.keeps(x, output) else self.requantized(name, output, output.name), target)

    def requantized(self, name: str, like: Tensor, stem: str = "") -> str:
        """The tensor with the quantization of ``like`` (itself where that is so already)."""
        x = self.tensor(name)
        if self.keeps(x, like):
            return name
        self.importer.builder.note(
            f"{self.code} '{self.name}' has inputs and outputs of different scales; a requantization was inserted"
        )
        return self.step(ops.Quantize(), [name], stem or f"{name}/requantized", like.dtype, like.quantization)

    def reshaped(self, name: str, shape: Shape, stem: str = "") -> str:
        """The tensor in another shape (itself where that is its shape)."""
        x = self.tensor(name)
        if x.shape == shape:
            return name
        return self.step(ops.Reshape(shape), [name], stem or f"{name}/reshaped", x.dtype, x.quantization)

    def float_weights(self, name: str) -> str:
        """Weights for a float operator: quantized ones (hybrid models) are put back into floating point."""
        weights = self.tensor(name)
        if weights.dtype is DType.FLOAT32 or weights.data is None:
            return name
        if weights.quantization is None:
            raise CannotLower(f"the weights '{name}' are {weights.dtype.value} without quantization parameters")
        done = self.importer.dequantized
        if name not in done:
            self.importer.spend(4 * weights.size)
            done[name] = self.importer.builder.constant(f"{name}/float", weights.quantization.dequantize(weights.data))
            self.importer.builder.note(
                f"{self.code} '{self.name}' has float activations and {weights.dtype.value} weights: the weights are "
                "used as float32 values, and activations are not rounded at run time"
            )
        return done[name]
