"""Mean, sum, maximum, minimum and index of the maximum. Contract: docs/contract/reduction.md."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinyopt.execute.integer.arithmetic import multiply_by_quantized_multiplier, quantize_multiplier, saturate
from tinyopt.execute.integer.elementwise import Multiplier, quantization_of, rescale_multiplier, wrapped
from tinyopt.execute.integer.registry import integer
from tinyopt.graph import Array, Tensor
from tinyopt.graph.ops import ArgMax, Reduce, ReduceKind


def reduced_count(attributes: Reduce, x: Tensor) -> int:
    """How many elements make one output."""
    return math.prod(x.shape[axis] for axis in attributes.axes)


def mean_multiplier(count: int, x: Tensor, y: Tensor) -> Multiplier:
    """input scale / (output scale * count), with the division by the count truncated as TFLM truncates it."""
    multiplier, shift = quantize_multiplier(x.scale / y.scale)
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << extra) // count, shift - extra


@integer(Reduce)
def reduce(attributes: Reduce, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    x, y = ins[0], outs[0]
    if x.quantization is None:
        return [_plain(attributes, arrays[0].astype(np.int64), reduced_count(attributes, x), y)]
    source, target = quantization_of(x), quantization_of(y)
    values = arrays[0].astype(np.int64)
    axes, keep = attributes.axes, attributes.keep_dims
    if attributes.op in (ReduceKind.MEAN, ReduceKind.SUM):
        count = reduced_count(attributes, x)
        centred = wrapped(values.sum(axis=axes, keepdims=keep) - source.zero_point * count)
        multiplier = (
            mean_multiplier(count, x, y) if attributes.op is ReduceKind.MEAN else rescale_multiplier(source, target)
        )
        result = multiply_by_quantized_multiplier(centred, *multiplier)
        return [saturate(wrapped(result + target.zero_point), y.dtype).reshape(y.shape)]
    choose = np.max if attributes.op is ReduceKind.MAX else np.min
    extreme = np.asarray(choose(values, axis=axes, keepdims=keep)) if axes else values
    if source != target:
        rescaled = multiply_by_quantized_multiplier(extreme - source.zero_point, *rescale_multiplier(source, target))
        extreme = wrapped(rescaled + target.zero_point)
    return [saturate(extreme, y.dtype).reshape(y.shape)]


def _plain(attributes: Reduce, values: Array, count: int, y: Tensor) -> Array:
    """Unquantized integers (indices, sizes): C arithmetic; sums wrap, a mean truncates."""
    if attributes.op in (ReduceKind.MAX, ReduceKind.MIN):
        choose = np.max if attributes.op is ReduceKind.MAX else np.min
        result = np.asarray(choose(values, axis=attributes.axes)) if attributes.axes else values
    else:
        result = np.asarray(values.sum(axis=attributes.axes))
        if attributes.op is ReduceKind.MEAN:
            result = np.sign(result) * (np.abs(result) // count)
    return np.asarray(result.astype(y.dtype.numpy)).reshape(y.shape)


@integer(ArgMax)
def arg_max(attributes: ArgMax, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    """Serves every element type, float32 too: the first of several largest elements wins."""
    indices = np.argmax(arrays[0], axis=attributes.axis)
    return [np.asarray(indices, outs[0].dtype.numpy).reshape(outs[0].shape)]
