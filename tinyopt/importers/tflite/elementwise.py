"""Elementwise arithmetic, activations, reductions and number formats of TFLite."""

from __future__ import annotations

from collections.abc import Sequence

from tinyopt.errors import ModelError
from tinyopt.graph import DType, ops
from tinyopt.importers.signs import compare, inverted, select
from tinyopt.importers.tflite.lowering import CannotLower, Node, lowers
from tinyopt.importers.values import Value


@lowers("ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM")
def binary(node: Node) -> None:
    kind = ops.BinaryKind(node.code.lower())
    names = [node.input(0), node.input(1)]
    sizes = all(node.tensor(n).is_constant and node.tensor(n).dtype in (DType.INT32, DType.INT64) for n in names)
    if not sizes or kind is ops.BinaryKind.DIV:
        node.arithmetic(*names)
    if kind in (ops.BinaryKind.MINIMUM, ops.BinaryKind.MAXIMUM):
        y = node.output()
        node.emit(ops.Binary(kind), [node.requantized(n, y) for n in names])
    else:
        node.emit(ops.Binary(kind, node.activation()), names)


@lowers("LOGISTIC", "TANH", "HARD_SWISH", "ABS", "NEG", "EXP", "LOG", "SQRT", "RSQRT", "SQUARE")
def unary(node: Node) -> None:
    x = node.input(0)
    node.arithmetic(x)
    node.emit(ops.Unary(ops.UnaryKind(node.code.lower())), [x])


@lowers("SIGN")
def sign(node: Node) -> None:
    x = node.input(0)
    node.arithmetic(x)
    node.emit(ops.Unary(ops.UnaryKind.SIGNUM), [x])


class _Steps:
    """Operators between the inputs and the output of one operator of the file, on values."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.count = 0

    def input(self, position: int) -> Value:
        tensor = self.node.tensor(self.node.input(position))
        if tensor.quantization is not None:
            raise CannotLower(f"'{tensor.name}' is quantized")
        return Value(tensor.shape, tensor=tensor.name, data=tensor.data)

    def dtype(self, value: Value) -> DType:
        return self.node.tensor(value.tensor).dtype if value.tensor else DType.of(value.real)

    def unary(self, op: ops.UnaryKind, x: Value) -> Value:
        return self._add(ops.Unary(op), [x], DType.FLOAT32)

    def binary(self, op: ops.BinaryKind, a: Value, b: Value) -> Value:
        return self._add(ops.Binary(op), [a, b], DType.FLOAT32)

    def elementwise(self, attributes: ops.Attributes, x: Value) -> Value:
        dtype = DType(attributes.dtype) if isinstance(attributes, ops.Cast) else self.dtype(x)
        return self._add(attributes, [x], dtype)

    def finish(self, value: Value) -> None:
        self.node.finish(value.tensor)

    def _add(self, attributes: ops.Attributes, values: Sequence[Value], dtype: DType) -> Value:
        self.count += 1
        builder = self.node.importer.builder
        names = [value.tensor or builder.constant(f"{self.node.name}/number", value.real) for value in values]
        output = self.node.step(attributes, names, f"{self.node.name}/{self.count}", dtype, None)
        tensor = self.node.tensor(output)
        return Value(tensor.shape, tensor=output, data=tensor.data)


@lowers("GREATER_EQUAL", "GREATER", "LESS_EQUAL", "LESS", "EQUAL", "NOT_EQUAL")
def comparison(node: Node) -> None:
    steps = _Steps(node)
    x, y = steps.input(0), steps.input(1)
    if x.is_constant and y.is_constant:
        raise CannotLower("a comparison of constants")
    name = {"GREATER_EQUAL": "greater_or_equal", "LESS_EQUAL": "less_or_equal"}.get(node.code, node.code.lower())
    steps.finish(compare(steps, name, x, y))


@lowers("LOGICAL_NOT")
def logical_not(node: Node) -> None:
    steps = _Steps(node)
    steps.finish(inverted(steps, steps.input(0)))


@lowers("SELECT", "SELECT_V2")
def selection(node: Node) -> None:
    steps = _Steps(node)
    steps.finish(select(steps, steps.input(0), steps.input(1), steps.input(2)))


@lowers("ELU")
def elu(node: Node) -> None:
    x = node.input(0)
    node.arithmetic(x)
    node.emit(ops.Unary(ops.UnaryKind.ELU, 1.0), [x])


@lowers("LEAKY_RELU")
def leaky_relu(node: Node) -> None:
    x = node.input(0)
    node.arithmetic(x)
    node.emit(ops.Unary(ops.UnaryKind.LEAKY_RELU, node.real("Alpha")), [x])


@lowers("GELU")
def gelu(node: Node) -> None:
    x = node.input(0)
    node.arithmetic(x)
    node.emit(ops.Unary(ops.UnaryKind.GELU_TANH if node.option("Approximate") else ops.UnaryKind.GELU), [x])


@lowers("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")
def clip(node: Node) -> None:
    x = node.input(0)
    node.arithmetic(x)
    clamps = {"RELU": ops.RELU, "RELU6": ops.RELU6, "RELU_N1_TO_1": ops.RELU_N1_TO_1}
    node.emit(ops.Clip(clamps.get(node.code, ops.Clamp(0.0, 1.0))), [x])


@lowers("PRELU")
def prelu(node: Node) -> None:
    x, alpha = node.input(0), node.input(1)
    if node.tensor(x).dtype is DType.FLOAT32:
        alpha = node.float_weights(alpha)
    node.arithmetic(x, alpha)
    if not node.tensor(alpha).is_constant:
        raise CannotLower("slopes computed at run time")
    node.emit(ops.Prelu(), [x, alpha])


@lowers("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")
def reduce(node: Node) -> None:
    x = node.input(0)
    node.arithmetic(x)
    rank = len(node.tensor(x).shape)
    axes = tuple(sorted({node.axis(axis, rank) for axis in node.numbers(1, "axes")}))
    kind = ops.ReduceKind(node.code.removeprefix("REDUCE_").lower())
    attributes = ops.Reduce(kind, axes, bool(node.option("KeepDims")))
    if kind in (ops.ReduceKind.MEAN, ops.ReduceKind.SUM):
        node.emit(attributes, [x])
    else:
        node.move(attributes, [x])


@lowers("SOFTMAX")
def softmax(node: Node) -> None:
    x = node.input(0)
    node.arithmetic(x)
    node.emit(ops.Softmax(node.real("Beta")), [x])


@lowers("LOG_SOFTMAX")
def log_softmax(node: Node) -> None:
    x = node.input(0)
    node.arithmetic(x)
    node.emit(ops.LogSoftmax(), [x])


@lowers("ARG_MAX")
def argmax(node: Node) -> None:
    x, y = node.input(0), node.output()
    node.arithmetic(x)
    if y.dtype not in (DType.INT32, DType.INT64):
        raise CannotLower(f"an index of type {y.dtype.value}")
    axis = node.axis(node.number(1, "an axis"), len(node.tensor(x).shape))
    node.emit(ops.ArgMax(axis, False, y.dtype.value), [x])


@lowers("QUANTIZE")
def quantize(node: Node) -> None:
    x, y = node.tensor(node.input(0)), node.output()
    if not y.dtype.is_integer or y.quantization is None:
        raise ModelError(f"the output '{y.name}' has no quantization parameters")
    if x.dtype is not DType.FLOAT32 and x.quantization is None:
        raise CannotLower(f"'{x.name}' is {x.dtype.value} without quantization parameters")
    node.emit(ops.Quantize(), [x.name])


@lowers("DEQUANTIZE")
def dequantize(node: Node) -> None:
    x = node.tensor(node.input(0))
    if x.dtype is DType.FLOAT32:  # a float16 constant, widened when it was read
        node.finish(x.name)
        return
    if x.quantization is None:
        raise CannotLower(f"'{x.name}' is {x.dtype.value} without quantization parameters")
    node.emit(ops.Dequantize(), [x.name])


@lowers("CAST")
def cast(node: Node) -> None:
    node.emit(ops.Cast(node.output().dtype.value), [node.input(0)])
