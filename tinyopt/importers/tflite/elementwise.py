"""Elementwise arithmetic, activations, reductions and number formats of TFLite."""

from __future__ import annotations

from tinyopt.errors import ModelError
from tinyopt.graph import DType, ops
from tinyopt.importers.tflite.lowering import CannotLower, Node, lowers


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
