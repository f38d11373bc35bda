"""Convolutions, matrix products, pooling and image resizing of TFLite."""

from __future__ import annotations

import math

from tinyopt.errors import ModelError
from tinyopt.graph import DType, Shape, ops
from tinyopt.importers.tflite.lowering import CannotLower, Node, lowers

_SAME, _VALID = 0, 1


def _strides(node: Node) -> tuple[int, int]:
    stride = (node.option("StrideH"), node.option("StrideW"))
    if min(stride) < 1:
        raise ModelError(f"strides {list(stride)} must be at least 1")
    return stride


def _dilations(node: Node) -> tuple[int, int]:
    dilation = (node.option("DilationHFactor"), node.option("DilationWFactor"))
    if min(dilation) < 1:
        raise ModelError(f"dilations {list(dilation)} must be at least 1")
    return dilation


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's SAME padding before and after; where it is odd, the larger part comes after."""
    out = -(-size // stride)
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def _padding(
    node: Node, x: Shape, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> ops.Padding:
    mode = node.option("Padding")
    if mode == _VALID:
        return ops.Padding()
    if mode != _SAME:
        raise ModelError(f"padding mode {mode} is neither SAME nor VALID")
    if len(x) != 4:
        raise ModelError(f"the input must be [N,H,W,C], got {list(x)}")
    top, bottom = same_padding(x[1], kernel[0], stride[0], dilation[0])
    left, right = same_padding(x[2], kernel[1], stride[1], dilation[1])
    return ops.Padding(top, bottom, left, right)


def _is_hybrid(node: Node, weights: str, axis: int) -> bool:
    """Weights that TensorFlow Lite multiplies with inputs it rounds at run time: int8, zero point 0, one scale or one
    per output channel."""
    w = node.tensor(weights)
    if w.dtype is not DType.INT8 or w.data is None or w.quantization is None:
        return False
    return w.quantization.axis in (None, axis) and not any(w.quantization.zero_points)


def _emit_layer(
    node: Node,
    layer: ops.Conv2d | ops.DepthwiseConv2d | ops.FullyConnected,
    x: str,
    weights: str,
    axis: int,
    symmetric: bool,
) -> None:
    """A layer with its bias at input 2. ``symmetric``: how its input is rounded if activations are float32 and weights
    int8."""
    if node.tensor(x).dtype is DType.FLOAT32 and _is_hybrid(node, weights, axis):
        node.emit(ops.DynamicRange.of(layer, symmetric), _parameters(node, x, weights, 2, axis, hybrid=True))
    else:
        node.emit(layer, _parameters(node, x, weights, 2, axis))


def _parameters(node: Node, x: str, weights: str, bias: int, axis: int, *, hybrid: bool = False) -> list[str]:
    """Inputs of a layer with constant weights: x, weights and the bias at input ``bias`` if there is one. ``hybrid``:
    int8 weights of a float layer stay as they are."""
    kind = node.arithmetic(x)
    w = node.tensor(weights)
    if w.data is None:
        raise CannotLower(f"weights computed at run time ('{weights}')")
    names = [x, node.float_weights(weights) if kind is DType.FLOAT32 and not hybrid else weights]
    w = node.tensor(names[1])
    if kind is not DType.FLOAT32:
        if w.dtype is not DType.INT8 or w.quantization is None:
            raise CannotLower(f"{kind.value} activations with {w.dtype.value} weights")
        if w.quantization.axis not in (None, axis):
            raise CannotLower(f"weights quantized along axis {w.quantization.axis}; only axis {axis} is used")
        if any(w.quantization.zero_points):
            raise CannotLower("weights with a zero point other than 0")
    elif w.dtype is not DType.FLOAT32 and not hybrid:
        raise CannotLower(f"float32 activations with {w.dtype.value} weights")
    if node.has(bias):
        name = node.input(bias)
        tensor = node.tensor(name)
        if tensor.data is None:
            raise CannotLower(f"a bias computed at run time ('{name}')")
        names.append(node.reshaped(node.float_weights(name) if kind is DType.FLOAT32 else name, (tensor.size,)))
    return names


def _image(node: Node, name: str) -> Shape:
    shape = node.tensor(name).shape
    if len(shape) != 4:
        raise ModelError(f"'{name}' must have 4 axes, got {list(shape)}")
    return shape


@lowers("CONV_2D")
def conv2d(node: Node) -> None:
    x, w = node.input(0), node.input(1)
    channels, kernel = _image(node, x)[3], _image(node, w)
    if channels % kernel[3]:
        raise ModelError(f"{channels} input channels are no multiple of the {kernel[3]} of the weights")
    stride, dilation, size = _strides(node), _dilations(node), (kernel[1], kernel[2])
    padding = _padding(node, node.tensor(x).shape, size, stride, dilation)
    attributes = ops.Conv2d(stride, padding, dilation, channels // kernel[3], node.activation())
    # A hybrid convolution takes a symmetric range where its weights have one scale.
    quantization = node.tensor(w).quantization
    one_scale = quantization is not None and len(quantization.scales) == 1
    _emit_layer(node, attributes, x, w, 0, symmetric=one_scale)


@lowers("DEPTHWISE_CONV_2D")
def depthwise_conv2d(node: Node) -> None:
    x, w = node.input(0), node.input(1)
    channels, kernel = _image(node, x)[3], _image(node, w)
    if kernel[3] % channels:
        raise ModelError(f"{kernel[3]} output channels are no multiple of {channels} input channels")
    multiplier = kernel[3] // channels
    if node.option("DepthMultiplier") not in (0, multiplier):
        raise ModelError(f"the depth multiplier is {node.option('DepthMultiplier')}, the weights have {multiplier}")
    stride, dilation, size = _strides(node), _dilations(node), (kernel[1], kernel[2])
    padding = _padding(node, node.tensor(x).shape, size, stride, dilation)
    attributes = ops.DepthwiseConv2d(stride, padding, dilation, multiplier, node.activation())
    _emit_layer(node, attributes, x, w, 3, symmetric=False)


@lowers("TRANSPOSE_CONV")
def transpose_conv2d(node: Node) -> None:
    """The padding is that of the convolution whose gradient this is, from the output to the input."""
    x, w = node.input(2), node.input(1)
    image, kernel, stride = _image(node, x), _image(node, w), _strides(node)
    # A shape that is only known at run time can only be the declared one, since all shapes are static here.
    fixed = node.tensor(node.input(0)).is_constant
    out = tuple(node.numbers(0, "an output shape")) if fixed else node.output().shape
    if len(out) != 4 or min(out) < 1:
        raise ModelError(f"the output shape {list(out)} is not [N,H,W,C]")
    ends = []
    for axis in (0, 1):
        size, reach = out[1 + axis], kernel[1 + axis]
        steps = -(-size // stride[axis]) if node.option("Padding") == _SAME else (size - reach) // stride[axis] + 1
        before = max((steps - 1) * stride[axis] + reach - size, 0) // 2
        ends += [before, (image[1 + axis] - 1) * stride[axis] + reach - before - size]
    attributes = ops.TransposeConv2d(stride, ops.Padding(*ends), (1, 1), node.activation())
    node.emit(attributes, _parameters(node, x, w, 3, axis=0))


@lowers("FULLY_CONNECTED")
def fully_connected(node: Node) -> None:
    """The input is flattened to rows of the weights' length, whatever its axes."""
    x, w = node.input(0), node.input(1)
    weights, y = node.tensor(w), node.output()
    if node.option("WeightsFormat"):
        raise CannotLower("weights in a shuffled format")
    if len(weights.shape) != 2 or not y.shape:
        raise ModelError(f"the weights must be [O,I], got {list(weights.shape)}")
    rows = node.tensor(x).size // weights.shape[1]
    lead = y.shape[:-1] if math.prod(y.shape[:-1]) == rows else (rows,)
    x = node.reshaped(x, (*lead, weights.shape[1]))
    if weights.data is not None:
        attributes = ops.FullyConnected(node.activation())
        _emit_layer(node, attributes, x, w, 0, symmetric=not node.option("AsymmetricQuantizeInputs"))
    elif not node.has(2) and node.activation() == ops.NONE and len(lead) >= 1:
        node.arithmetic(x, w)
        node.emit(ops.MatMul(transpose_b=True), [x, w])
    else:
        raise CannotLower(f"weights computed at run time ('{w}') with a bias or an activation")


@lowers("BATCH_MATMUL")
def batch_matmul(node: Node) -> None:
    a, b = node.input(0), node.input(1)
    if node.tensor(a).dtype is DType.FLOAT32:
        b = node.float_weights(b)
    node.arithmetic(a, b)
    node.emit(ops.MatMul(bool(node.option("AdjX")), bool(node.option("AdjY"))), [a, b])


@lowers("MAX_POOL_2D", "AVERAGE_POOL_2D")
def pool2d(node: Node) -> None:
    x = node.input(0)
    node.arithmetic(x)
    kernel, stride = (node.option("FilterHeight"), node.option("FilterWidth")), _strides(node)
    padding = _padding(node, node.tensor(x).shape, kernel, stride)
    if node.code == "AVERAGE_POOL_2D":
        node.emit(ops.AveragePool2d(kernel, stride, padding, node.activation()), [x])
    else:
        node.move(ops.MaxPool2d(kernel, stride, padding, node.activation()), [x])


@lowers("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize(node: Node) -> None:
    size = node.numbers(1, "a size")
    if len(size) != 2:
        raise ModelError(f"the size must be two numbers, got {size}")
    method = ops.ResizeMethod.BILINEAR if node.code == "RESIZE_BILINEAR" else ops.ResizeMethod.NEAREST
    x = node.input(0)
    if method is ops.ResizeMethod.BILINEAR:
        node.arithmetic(x)
    corners, centers = bool(node.option("AlignCorners")), bool(node.option("HalfPixelCenters"))
    node.move(ops.Resize2d((size[0], size[1]), method, corners, centers), [x])
