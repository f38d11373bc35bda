"""Layers whose input is rounded to int8 with a range that is taken at run time; float32 in, float32 out.

Everything up to the sums is exact, in the C kernels as here; what becomes of a sum is float32 arithmetic. The contract
in words is in docs/contract/dynamic.md. TensorFlow Lite's hybrid operators (``PortableSymmetricQuantizeFloats`` and
``PortableAsymmetricQuantizeFloats``) are the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyopt.execute.integer.convolution import exact_matmul, patches
from tinyopt.execute.integer.registry import integer
from tinyopt.graph import Array, Tensor, ops
from tinyopt.graph.ops import Clamp

SMALLEST_RANGE = np.float32(2.0**-90)
"""Ranges below this count as zero: their inverse, in fixed point, would leave float32."""
_FRACTION = 22
"""Bits behind the point while a value is rounded."""


def quantize_rows(rows: Array, symmetric: bool) -> tuple[Array, Array]:
    """Rows [R, N] of float32 → integers less their zero point, int32 [R, N], and scales float32 [R].

    A row that holds NaN or infinity, or whose range is beyond float32, becomes zeros with a scale of NaN.
    """
    with np.errstate(all="ignore"):
        low = np.minimum(rows.min(axis=1), np.float32(0))
        high = np.maximum(rows.max(axis=1), np.float32(0))
        if symmetric:
            spread, steps = np.maximum(-low, high), np.float32(127)
            lowest = -127
        else:
            spread, steps = (high - low).astype(np.float32), np.float32(255)
            lowest = -128
        finite = np.isfinite(spread)
        empty = finite & (spread < SMALLEST_RANGE)
        scales = np.where(empty, np.float32(1), spread / steps).astype(np.float32)
        inverse = (steps / spread if symmetric else np.float32(1) / scales).astype(np.float32)
        zeros = np.zeros(len(rows), np.int32) if symmetric else _zero_points(low, high, scales)
        plain = finite & ~empty
        zeros = np.where(plain, zeros, 0).astype(np.int64)[:, None]
        products = (rows * np.where(plain, inverse, np.float32(0))[:, None]).astype(np.float32)
        fixed = np.trunc(products.astype(np.float64) * 2.0**_FRACTION)
        fixed = np.where(plain[:, None], fixed, 0.0).astype(np.int64) + (zeros << _FRACTION)
    rounded = (fixed + (1 << (_FRACTION - 1)) - (fixed < 0)) >> _FRACTION  # halves away from zero
    quantized = np.clip(rounded, lowest, 127) - zeros
    return quantized.astype(np.int32), np.where(finite, scales, np.float32(np.nan)).astype(np.float32)


def _zero_points(low: Array, high: Array, scales: Array) -> Array:
    """The zero point that the end of the range with the smaller error gives, rounded and inside int8."""
    below, above = low / scales, high / scales
    from_low = np.float32(-128) - below
    from_high = np.float32(127) - above
    chosen = np.where(np.float32(128) - below < np.float32(127) + above, from_low, from_high)
    chosen = np.clip(np.nan_to_num(chosen), np.float32(-128), np.float32(127))
    whole = np.trunc(chosen)
    result: Array = (whole + np.sign(chosen) * (np.abs(chosen - whole) >= 0.5)).astype(np.int32)
    return result


def _finish(sums: Array, scales: Array, arrays: Sequence[Array], weights: Tensor, limits: Clamp) -> Array:
    """int64 sums [R, ..., O] and the scales [R] of the input → float32: times both scales, plus the bias, clamped."""
    assert weights.quantization is not None
    real = sums.astype(np.float32) * np.asarray(weights.quantization.scales, np.float32)
    with np.errstate(all="ignore"):
        real = real * scales.reshape(-1, *(1,) * (sums.ndim - 1))
        if len(arrays) > 2:
            real = real + arrays[2]
        if limits.low is not None:
            real = np.where(real < np.float32(limits.low), np.float32(limits.low), real)
        if limits.high is not None:
            real = np.where(real > np.float32(limits.high), np.float32(limits.high), real)
    result: Array = real.astype(np.float32)
    return result


def _image_fields(a: ops.DynamicConv2d | ops.DynamicDepthwiseConv2d, x: Array, w: Array) -> tuple[Array, Array]:
    """The receptive fields [N,OH,OW,KH,KW,C] of the rounded images less their zero points, and the images' scales."""
    rounded, scales = quantize_rows(x.reshape(x.shape[0], -1), a.symmetric)
    layer = a.layer
    kernel = (w.shape[1], w.shape[2])
    return patches(rounded.reshape(x.shape), kernel, layer.stride, layer.dilation, layer.padding), scales


_LARGEST_PRODUCT = 255 * 128


@integer(ops.DynamicConv2d)
def conv2d(
    a: ops.DynamicConv2d, arrays: Sequence[Array], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> list[Array]:
    """x [N,H,W,C], weights [O,KH,KW,C/groups], bias [O]? → [N,OH,OW,O]."""
    weights, groups = arrays[1], a.layer.groups
    fields, scales = _image_fields(a, arrays[0], weights)
    lead, depth, per_group = fields.shape[:3], weights.shape[3], weights.shape[0] // groups
    sums = np.empty((*lead, weights.shape[0]), np.int64)
    for group in range(groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        field = fields[..., group * depth : (group + 1) * depth].reshape(int(np.prod(lead)), -1)
        product = exact_matmul(field, weights[rows].reshape(per_group, -1).T, _LARGEST_PRODUCT)
        sums[..., rows] = product.reshape(*lead, per_group)
    return [_finish(sums, scales, arrays, inputs[1], a.layer.activation)]


@integer(ops.DynamicDepthwiseConv2d)
def depthwise_conv2d(
    a: ops.DynamicDepthwiseConv2d, arrays: Sequence[Array], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> list[Array]:
    """x [N,H,W,C], weights [1,KH,KW,C*multiplier], bias [C*multiplier]? → [N,OH,OW,C*multiplier]."""
    weights = arrays[1][0].astype(np.int64)
    fields, scales = _image_fields(a, arrays[0], arrays[1])
    sums = np.zeros((*fields.shape[:3], weights.shape[2]), np.int64)
    for row in range(weights.shape[0]):
        for column in range(weights.shape[1]):
            sums += np.repeat(fields[:, :, :, row, column], a.layer.multiplier, axis=3) * weights[row, column]
    return [_finish(sums, scales, arrays, inputs[1], a.layer.activation)]


@integer(ops.DynamicFullyConnected)
def fully_connected(
    a: ops.DynamicFullyConnected, arrays: Sequence[Array], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> list[Array]:
    """x [...,I], weights [O,I], bias [O]? → [...,O]."""
    x, weights = arrays[0], arrays[1]
    rounded, scales = quantize_rows(x.reshape(-1, x.shape[-1]), a.symmetric)
    sums = exact_matmul(rounded, weights.T, _LARGEST_PRODUCT)
    return [_finish(sums, scales, arrays, inputs[1], a.layer.activation).reshape(*x.shape[:-1], weights.shape[0])]
