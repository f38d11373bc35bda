"""Quantized ONNX operators: QuantizeLinear, DequantizeLinear and the QLinear family.

They are written as float operators between Dequantize and Quantize; ``tinyopt.importers.qdq`` then turns them into
integer operators where the formats fit. Unsigned 8-bit activations become int8 by subtracting 128 from value and zero
point, which changes no represented number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tinyopt.graph import Array, DType, Quantization, ops
from tinyopt.importers.layers import Layers
from tinyopt.importers.onnx.node import OPERATORS, Lowering, Node, Result, lowers
from tinyopt.importers.values import CannotLower, Value, constant, normal_axis

_SIGNED = {DType.UINT8: (DType.INT8, 128)}
_ACTIVATIONS = (DType.INT8, DType.INT16)


def signed(dtype: DType, zero_point: int) -> tuple[DType, int]:
    """The signed format that represents the same numbers."""
    kind, shift = _SIGNED.get(dtype, (dtype, 0))
    return kind, zero_point - shift


def _parameters(scale: Value, zero: Value | None, axis: int, shape: Sequence[int]) -> tuple[Array, Array, int | None]:
    """Scales, zero points and the axis (None: per tensor)."""
    scales = np.asarray(scale.real, np.float32)
    zeros = np.zeros(scales.shape, np.int64) if zero is None else np.asarray(zero.data, np.int64)
    if scales.size == 1:
        return scales.reshape(1), zeros.reshape(-1)[:1], None
    if scales.ndim != 1 or scales.size != shape[normal_axis(axis, len(shape))]:
        raise CannotLower(f"scales {list(scales.shape)} for a tensor {list(shape)} (blocks are not supported)")
    return scales, zeros.reshape(-1), normal_axis(axis, len(shape))


def dequantize(net: Layers, x: Value, scale: Value, zero: Value | None, axis: int = 1) -> Value:
    """Real numbers of an integer value. A constant stays integer inside, with its quantization beside it."""
    if not scale.is_constant or (zero is not None and zero.data is None):
        raise CannotLower("scales that are computed at run time (dynamic quantization)")
    scales, zeros, channel = _parameters(scale, zero, axis, x.shape)
    if x.data is not None:
        data = x.data
        if data.dtype == np.uint8:
            data, zeros = (data.astype(np.int16) - 128).astype(np.int8), zeros - 128
        if not np.isfinite(scales).all() or (scales <= 0).any():
            raise CannotLower("a scale that is not a positive number")
        if data.dtype not in (np.int8, np.int16, np.int32):
            raise CannotLower(f"quantized constants of type {data.dtype}")
        quantization = Quantization(tuple(map(float, scales)), tuple(map(int, zeros)), channel)
        return replace(x, data=data, quantization=quantization)
    if channel is not None:
        raise CannotLower("activations quantized per channel")
    tensor = net.graph.tensor(x.tensor)
    held = tensor.quantization
    if held is None:
        raise CannotLower("an integer that no QuantizeLinear made")
    if tensor.dtype is DType.UINT8:  # a graph input: its quantization was found in advance
        held = Quantization.per_tensor(held.scale, held.zero_point - 128)
        x = net.elementwise(ops.Quantize(), x, quantization=held, dtype=DType.INT8)
    # An integer without a zero point has the one that it was written with: 0, or -128 after the shift.
    zero_point = held.zero_point if zero is None or zero.data is None else signed(DType.of(zero.data), int(zeros[0]))[1]
    if (held.scale, held.zero_point) != (float(scales[0]), zero_point):
        raise CannotLower("integers that are read with another scale than they were written with")
    return net.elementwise(ops.Dequantize(), x)


def quantize(net: Layers, x: Value, scale: Value, zero: Value | None, dtype: DType, axis: int = 1) -> Value:
    """Integers of a real value."""
    if not scale.is_constant or (zero is not None and not zero.is_constant):
        raise CannotLower("scales that are computed at run time (dynamic quantization)")
    scales, zeros, channel = _parameters(scale, zero, axis, x.shape)
    if x.is_constant:
        shape = [-1 if a == channel else 1 for a in range(x.rank)]
        low, high = dtype.limits
        scaled = np.rint(x.real / scales.reshape(shape if channel is not None else ())) + zeros.reshape(
            shape if channel is not None else ()
        )
        return constant(np.clip(scaled, low, high).astype(dtype.numpy), x.name)
    if channel is not None:
        raise CannotLower("activations quantized per channel")
    kind, zero_point = signed(dtype, int(zeros[0]))
    if kind not in _ACTIVATIONS or (kind is DType.INT16 and zero_point):
        raise CannotLower(f"activations quantized as {dtype.value} (zero point {int(zeros[0])})")
    return net.elementwise(
        ops.Quantize(), x, quantization=Quantization.per_tensor(float(scales[0]), zero_point), dtype=kind
    )


@lowers("DequantizeLinear")
def _dequantize_linear(net: Layers, node: Node) -> Value:
    if node.attribute("block_size", 0):
        raise CannotLower("quantization in blocks")
    return dequantize(net, node.x, node.input(1), node.optional(2), int(node.attribute("axis", 1)))


@lowers("QuantizeLinear")
def _quantize_linear(net: Layers, node: Node) -> Value:
    if node.attribute("block_size", 0):
        raise CannotLower("quantization in blocks")
    zero = node.optional(2)
    dtype = DType.UINT8 if zero is None else _integer(zero)
    return quantize(net, node.x, node.input(1), zero, dtype, int(node.attribute("axis", 1)))


def _integer(zero: Value) -> DType:
    if zero.data is None or zero.data.dtype.name not in ("int8", "uint8", "int16", "int32"):
        raise CannotLower("activations of an element type other than int8, uint8 or int16")
    return DType.of(zero.data)


# ---- the QLinear family ---------------------------------------------------------------------------------------


def _triple(net: Layers, node: Node, first: int) -> Value:
    """Inputs (tensor, scale, zero point) from ``first`` on, as a real value."""
    return dequantize(net, node.input(first), node.input(first + 1), node.optional(first + 2), axis=0)


def _result(net: Layers, node: Node, y: Value, scale: int) -> Value:
    zero = node.optional(scale + 1)
    dtype = DType.UINT8 if zero is None else _integer(zero)
    return quantize(net, y, node.input(scale), zero, dtype)


def _inner(net: Layers, node: Node, operator: str, inputs: Sequence[Value | None]) -> Value:
    """The float operator that the quantized one stands for."""
    y = OPERATORS[operator](net, replace(node, operator=operator, inputs=inputs))
    if isinstance(y, Value):
        return y
    assert y[0] is not None
    return y[0]


@lowers("QLinearConv")
def _qlinear_conv(net: Layers, node: Node) -> Value:
    x, w = _triple(net, node, 0), _triple(net, node, 3)
    bias = _accumulator(net, node.optional(8), node.input(1), node.input(4))
    return _result(net, node, _inner(net, node, "Conv", [x, w, bias]), 6)


def _accumulator(net: Layers, bias: Value | None, x_scale: Value, w_scale: Value) -> Value | None:
    """A bias of 32 bits at the scale of the products."""
    if bias is None:
        return None
    scale = (x_scale.real.astype(np.float32) * w_scale.real.astype(np.float32)).reshape(-1)
    return dequantize(net, bias, constant(scale), None, axis=0)


@lowers("QLinearMatMul")
def _qlinear_matmul(net: Layers, node: Node) -> Value:
    b = dequantize(net, node.input(3), node.input(4), node.optional(5), axis=-1)
    return _result(net, node, _inner(net, node, "MatMul", [_triple(net, node, 0), b]), 6)


@lowers("QGemm")
def _qgemm(net: Layers, node: Node) -> Result:
    a = _triple(net, node, 0)
    b = dequantize(net, node.input(3), node.input(4), node.optional(5), axis=0 if node.attribute("transB", 0) else 1)
    bias = _accumulator(net, node.optional(6), node.input(1), node.input(4))
    y = _inner(net, node, "Gemm", [a, b, bias])
    return y if node.optional(7) is None else _result(net, node, y, 7)


def _qlinear_binary(operator: str) -> Lowering:
    def lower(net: Layers, node: Node) -> Value:
        y = _inner(net, node, operator, [_triple(net, node, 0), _triple(net, node, 3)])
        return _result(net, node, y, 6)

    return lower


OPERATORS.update(QLinearAdd=_qlinear_binary("Add"), QLinearMul=_qlinear_binary("Mul"))


def _qlinear_unary(operator: str) -> Lowering:
    def lower(net: Layers, node: Node) -> Value:
        return _result(net, node, _inner(net, node, operator, [_triple(net, node, 0)]), 3)

    return lower


OPERATORS.update(
    QLinearSigmoid=_qlinear_unary("Sigmoid"),
    QLinearLeakyRelu=_qlinear_unary("LeakyRelu"),
    QLinearAveragePool=_qlinear_unary("AveragePool"),
    QLinearSoftmax=_qlinear_unary("Softmax"),
    QLinearReduceMean=_qlinear_unary("ReduceMean"),
)


@lowers("QLinearGlobalAveragePool")
def _qlinear_global_pool(net: Layers, node: Node) -> Value:
    if node.attribute("channels_last", 0):
        raise CannotLower("channels_last=1")
    return _result(net, node, _inner(net, node, "GlobalAveragePool", [_triple(net, node, 0)]), 3)


@lowers("QLinearConcat")
def _qlinear_concat(net: Layers, node: Node) -> Value:
    parts = [_triple(net, node, first) for first in range(2, len(node.inputs) - 2, 3)]
    y = _inner(net, node, "Concat", parts)
    zero = node.input(1)
    return quantize(net, y, node.input(0), zero, _integer(zero))


def input_quantization(
    name: str, consumers: Callable[[str], Sequence[tuple[str, Sequence[str]]]], constants: Callable[[str], Array | None]
) -> Quantization | None:
    """The quantization of an integer graph input, read off the first operator that dequantizes it.

    ``consumers``: tensor name → (operator type, input names); ``constants``: tensor name → array or None.
    """
    for operator, inputs in consumers(name):
        starts = {"QLinearConcat": range(2, len(inputs), 3), "QLinearAdd": (0, 3), "QLinearMul": (0, 3),
                  "QLinearMatMul": (0, 3)}.get(operator, (0,))  # fmt: skip
        if not operator.startswith(("QLinear", "DequantizeLinear", "QGemm")):
            continue
        for start in starts:
            if start + 1 >= len(inputs) or inputs[start] != name:
                continue
            scale = constants(inputs[start + 1])
            zero = constants(inputs[start + 2]) if start + 2 < len(inputs) and inputs[start + 2] else None
            if scale is not None and scale.size == 1:
                zero_point = 0 if zero is None else int(zero.reshape(-1)[0])
                return Quantization.per_tensor(float(scale.reshape(-1)[0]), zero_point)
    return None
