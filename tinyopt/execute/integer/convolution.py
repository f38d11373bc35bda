"""Convolutions and fully connected layers on quantized tensors, exactly as TensorFlow Lite Micro's reference kernels.

int8 activations: 32-bit sums (modulo 2**32), bias int32, double rounding. int16 activations: a 64-bit bias, or none,
means 64-bit sums and a multiplier of 15 bits; an int32 bias means 32-bit sums and double rounding. The contract in
words is in docs/contract/convolution.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tinyopt.execute.integer.arithmetic import (
    clamp_limits,
    multiply_by_quantized_multiplier,
    multiply_wide,
    quantize_multiplier,
    saturate,
)
from tinyopt.execute.integer.registry import integer
from tinyopt.graph import Array, DType, Tensor, ops
from tinyopt.graph.ops import Clamp


def output_multipliers(x: Tensor, weights: Tensor, y: Tensor) -> tuple[Array, Array]:
    """Multipliers (int32) and left shifts (int8) of a convolution's sums: one each, or one per output channel.

    The real multiplier is ``x.scale * weight_scale / y.scale`` in double precision.
    """
    assert weights.quantization is not None
    return _multipliers(x.scale, tuple(weights.quantization.scales), y.scale)


@lru_cache(maxsize=256)
def _multipliers(x_scale: float, weight_scales: tuple[float, ...], y_scale: float) -> tuple[Array, Array]:
    pairs = [quantize_multiplier(x_scale * scale / y_scale) for scale in weight_scales]
    result = np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int8)
    for array in result:
        array.setflags(write=False)
    return result


def fully_connected_multipliers(x: Tensor, weights: Tensor, y: Tensor) -> tuple[Array, Array]:
    """As ``output_multipliers``; with a single weight scale the product of the two scales is rounded to float32."""
    assert weights.quantization is not None
    if len(weights.quantization.scales) > 1:
        return output_multipliers(x, weights, y)
    multiplier, shift = quantize_multiplier(product_multiplier(x.scale, weights.quantization.scales[0], y.scale))
    return np.array([multiplier], np.int32), np.array([shift], np.int8)


def product_multiplier(first: float, second: float, output: float) -> float:
    """The real multiplier of a product of two per-tensor quantized tensors: a float32 product, a double quotient."""
    return float(np.float32(first) * np.float32(second)) / output


def has_wide_sums(inputs: Sequence[Tensor]) -> bool:
    """Whether a biased operator adds in 64 bits: int16 activations without an int32 bias."""
    return inputs[0].dtype is DType.INT16 and not (len(inputs) > 2 and inputs[2].dtype is DType.INT32)


def exact_matmul(a: Array, b: Array, largest: int) -> Array:
    """The integer matrix product ``a @ b`` by floating-point BLAS, as int64.

    ``largest``: a bound on the magnitude of one product of elements; single precision is used where every partial
    sum is exact in it.
    """
    kind = np.float32 if a.shape[-1] * largest < 1 << 24 else np.float64
    result: Array = np.matmul(a.astype(kind), b.astype(kind)).astype(np.int64)
    return result


def patches(
    x: Array, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], padding: ops.Padding
) -> Array:
    """The receptive fields of an image [N,H,W,C] → [N,OH,OW,KH,KW,C]; padding reads 0."""
    padded = np.pad(x, ((0, 0), (padding.top, padding.bottom), (padding.left, padding.right), (0, 0)))
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    windows = windows[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    result: Array = np.moveaxis(windows, 3, 5)
    return result


def finish(
    sums: Array,
    arrays: Sequence[Array],
    inputs: Sequence[Tensor],
    y: Tensor,
    multipliers: tuple[Array, Array],
    activation: Clamp,
) -> Array:
    """Bias, requantization, zero point and clamp: int64 sums [..., O] to the output's integers."""
    if len(arrays) > 2:
        sums = sums + arrays[2].astype(np.int64)
    low, high = clamp_limits(activation, y)
    if has_wide_sums(inputs):
        scaled = multiply_wide(sums, *multipliers)
    else:
        scaled = multiply_by_quantized_multiplier(sums.astype(np.int32), *multipliers)
    shifted = (scaled + y.zero_point).astype(np.int32)
    return saturate(shifted, y.dtype, low, high)


def _centred(x: Array, tensor: Tensor) -> Array:
    result: Array = x.astype(np.int32) - tensor.zero_point
    return result


def _largest_product(x: Tensor) -> int:
    return (1 << 8) * (1 << 7) if x.dtype is DType.INT8 else (1 << 17) * (1 << 7)


@integer(ops.Conv2d)
def conv2d(a: ops.Conv2d, arrays: Sequence[Array], inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Array]:
    """x [N,H,W,C], weights [O,KH,KW,C/groups], bias [O]? → [N,OH,OW,O]."""
    weights, y = arrays[1], outputs[0]
    channels, kernel_height, kernel_width, depth = weights.shape
    fields = patches(_centred(arrays[0], inputs[0]), (kernel_height, kernel_width), a.stride, a.dilation, a.padding)
    n, height, width = fields.shape[:3]
    largest, per_group = _largest_product(inputs[0]), channels // a.groups
    sums = np.empty((n, height, width, channels), np.int64)
    for group in range(a.groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        field = fields[..., group * depth : (group + 1) * depth].reshape(n * height * width, -1)
        product = exact_matmul(field, weights[rows].reshape(per_group, -1).T, largest)
        sums[..., rows] = product.reshape(n, height, width, per_group)
    multipliers = output_multipliers(inputs[0], inputs[1], y)
    return [finish(sums, arrays, inputs, y, multipliers, a.activation)]


@integer(ops.DepthwiseConv2d)
def depthwise_conv2d(
    a: ops.DepthwiseConv2d, arrays: Sequence[Array], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> list[Array]:
    """x [N,H,W,C], weights [1,KH,KW,C*multiplier], bias [C*multiplier]? → [N,OH,OW,C*multiplier]."""
    weights, y = arrays[1][0].astype(np.int64), outputs[0]
    fields = patches(_centred(arrays[0], inputs[0]), weights.shape[:2], a.stride, a.dilation, a.padding)
    sums = np.zeros(y.shape, np.int64)
    for row in range(weights.shape[0]):
        for column in range(weights.shape[1]):
            sums += np.repeat(fields[:, :, :, row, column], a.multiplier, axis=3) * weights[row, column]
    multipliers = output_multipliers(inputs[0], inputs[1], y)
    return [finish(sums, arrays, inputs, y, multipliers, a.activation)]


@integer(ops.TransposeConv2d)
def transpose_conv2d(
    a: ops.TransposeConv2d, arrays: Sequence[Array], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> list[Array]:
    """x [N,H,W,C], weights [O,KH,KW,C], bias [O]? → [N,OH,OW,O]: every input pixel adds its kernel to the output."""
    y, p = outputs[0], a.padding
    channels, kernel_height, kernel_width, depth = arrays[1].shape
    n, height, width = arrays[0].shape[:3]
    largest = _largest_product(inputs[0])
    products = exact_matmul(
        _centred(arrays[0], inputs[0]).reshape(-1, depth), arrays[1].reshape(-1, depth).T, largest
    ).reshape(n, height, width, channels, kernel_height, kernel_width)
    # The uncut result, at least as large as what is left after negative padding (output padding) at bottom and right.
    full_height = max((height - 1) * a.stride[0] + (kernel_height - 1) * a.dilation[0] + 1, p.top + y.shape[1])
    full_width = max((width - 1) * a.stride[1] + (kernel_width - 1) * a.dilation[1] + 1, p.left + y.shape[2])
    top, left = max(-p.top, 0), max(-p.left, 0)
    sums = np.zeros((n, top + full_height, left + full_width, channels), np.int64)
    for row in range(kernel_height):
        for column in range(kernel_width):
            first_row, first_column = top + row * a.dilation[0], left + column * a.dilation[1]
            rows = slice(first_row, first_row + (height - 1) * a.stride[0] + 1, a.stride[0])
            columns = slice(first_column, first_column + (width - 1) * a.stride[1] + 1, a.stride[1])
            sums[:, rows, columns] += products[..., row, column]
    first_row, first_column = p.top + top, p.left + left
    cut = sums[:, first_row : first_row + y.shape[1], first_column : first_column + y.shape[2]]
    multipliers = output_multipliers(inputs[0], inputs[1], y)
    return [finish(cut, arrays, inputs, y, multipliers, a.activation)]


@integer(ops.FullyConnected)
def fully_connected(
    a: ops.FullyConnected, arrays: Sequence[Array], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> list[Array]:
    """x [...,I], weights [O,I], bias [O]? → [...,O]."""
    y = outputs[0]
    centred = _centred(arrays[0], inputs[0]).reshape(-1, arrays[0].shape[-1])
    sums = exact_matmul(centred, arrays[1].T, _largest_product(inputs[0])).reshape(y.shape)
    multipliers = fully_connected_multipliers(inputs[0], inputs[1], y)
    return [finish(sums, arrays, inputs, y, multipliers, a.activation)]


@integer(ops.MatMul)
def matmul(a: ops.MatMul, arrays: Sequence[Array], inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Array]:
    """a [...,M,K], b [...,K,N], either transposed, leading axes broadcast → [...,M,N]."""
    y = outputs[0]
    first, second = (_centred(array, tensor) for array, tensor in zip(arrays, inputs))
    if a.transpose_a:
        first = np.swapaxes(first, -1, -2)
    if a.transpose_b:
        second = np.swapaxes(second, -1, -2)
    bits = 16 if inputs[0].dtype is DType.INT8 else 34
    sums = exact_matmul(first, second, 1 << bits)
    multiplier, shift = quantize_multiplier(product_multiplier(inputs[0].scale, inputs[1].scale, y.scale))
    if inputs[0].dtype is DType.INT8:
        scaled = multiply_by_quantized_multiplier(sums.astype(np.int32), multiplier, shift)
    else:
        scaled = multiply_wide(sums, multiplier, shift)
    return [saturate((scaled + y.zero_point).astype(np.int32), y.dtype)]
