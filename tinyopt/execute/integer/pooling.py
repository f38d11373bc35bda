"""Max and average pooling of quantized tensors. Contract: docs/contract/pooling.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinyopt.execute.integer.arithmetic import (
    clamp_limits,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    saturate,
)
from tinyopt.execute.integer.elementwise import Multiplier, quantization_of, wrapped
from tinyopt.execute.integer.registry import integer
from tinyopt.graph import Array, Tensor
from tinyopt.graph.ops import AveragePool2d, MaxPool2d, OrPool2d

Pool2d = MaxPool2d | AveragePool2d | OrPool2d

RESCALE_BITS = 8
"""Fractional bits of the mean before it is brought to another output scale."""


def windows(attributes: Pool2d, x: Array, fill: int) -> tuple[Array, int, int]:
    """The image padded with ``fill`` so that every window lies inside, and the output's height and width."""
    p, (kh, kw), (sh, sw) = attributes.padding, attributes.kernel, attributes.stride
    padded = np.pad(x, ((0, 0), (p.top, p.bottom), (p.left, p.right), (0, 0)), constant_values=fill)
    return padded, (padded.shape[1] - kh) // sh + 1, (padded.shape[2] - kw) // sw + 1


def reduce_windows(attributes: Pool2d, x: Array, fill: int, combine: Callable[[Array, Array], Array]) -> Array:
    """x [N,H,W,C] → [N,OH,OW,C]: the elements of every window, combined two by two."""
    padded, height, width = windows(attributes, x, fill)
    (kh, kw), (sh, sw) = attributes.kernel, attributes.stride
    result: Array | None = None
    for i in range(kh):
        for j in range(kw):
            tap = padded[:, i : i + (height - 1) * sh + 1 : sh, j : j + (width - 1) * sw + 1 : sw, :]
            result = tap if result is None else combine(result, tap)
    assert result is not None
    return result


@integer(MaxPool2d)
def max_pool2d(
    attributes: MaxPool2d, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]
) -> list[Array]:
    y = outs[0]
    result = reduce_windows(attributes, arrays[0], y.dtype.limits[0], np.maximum)
    if y.quantization is None:
        return [result]
    return [saturate(result, y.dtype, *clamp_limits(attributes.activation, y))]


def divide_half_away(total: Array, count: Array) -> Array:
    """total / count rounded to nearest, halves away from zero, as TFLM's average pooling does."""
    magnitude = (np.abs(total) + count // 2) // count
    return np.asarray(np.where(total > 0, magnitude, -magnitude), np.int64)


def average_rescale(x: Tensor, y: Tensor) -> Multiplier:
    """From means with RESCALE_BITS fractional bits to the output, where it has a quantization of its own."""
    return quantize_multiplier(x.scale / (y.scale * (1 << RESCALE_BITS)))


@integer(AveragePool2d)
def average_pool2d(
    attributes: AveragePool2d, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]
) -> list[Array]:
    x, y = ins[0], outs[0]
    source, target = quantization_of(x), quantization_of(y)
    values = arrays[0].astype(np.int64)
    total = reduce_windows(attributes, values, 0, np.add)
    count = reduce_windows(attributes, np.ones((1, *values.shape[1:3], 1), np.int64), 0, np.add)
    if source == target:
        result = divide_half_away(total, count)
    else:
        centred = (total - count * source.zero_point) << RESCALE_BITS
        mean = divide_half_away(centred, count)
        result = wrapped(multiply_by_quantized_multiplier(mean, *average_rescale(x, y)) + target.zero_point)
    return [saturate(result, y.dtype, *clamp_limits(attributes.activation, y))]
