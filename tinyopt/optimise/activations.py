"""Activation fusion: a stand-alone clip becomes the fused clamp of the operator before it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.graph import DType, Graph, Tensor, ops
from tinyopt.graph.ops import Clamp
from tinyopt.optimise.evaluate import all_values, elementwise, has_few_values
from tinyopt.optimise.rewriter import Rewriter

_FUSABLE = (
    ops.Conv2d,
    ops.DepthwiseConv2d,
    ops.TransposeConv2d,
    ops.FullyConnected,
    ops.Binary,
    ops.MaxPool2d,
    ops.AveragePool2d,
)


def fuse_activations(graph: Graph) -> Graph:
    """Clip after an operator with a fused activation, or after another clip, when nothing else reads the middle.

    On quantized tensors only when both formats are equal and every value comes out the same.
    """
    edit = Rewriter(graph)
    for clip in edit.scan():
        if not isinstance(clip.attributes, ops.Clip) or not edit.has_one_reader(clip.inputs[0]):
            continue
        operator = edit.producer(clip.inputs[0])
        if operator is None:
            continue
        a: Any = operator.attributes
        is_clip = isinstance(a, ops.Clip)
        if not is_clip and not isinstance(a, _FUSABLE):
            continue
        first = a.clamp if is_clip else a.activation
        middle, y = edit.outs(operator)[0], edit.outs(clip)[0]
        both = intersection(first, clip.attributes.clamp)
        if both is None or middle.quantization != y.quantization:
            continue
        if middle.dtype is not DType.FLOAT32 and not _is_exact(first, both, clip.attributes, middle, y):
            continue
        attributes = ops.Clip(both) if is_clip else replace(a, activation=both)
        edit.substitute([operator, clip], replace(operator, attributes=attributes, outputs=clip.outputs))
    return edit.finish()


def intersection(first: Clamp, second: Clamp) -> Clamp | None:
    """The clamp that equals ``first`` and then ``second``; None where their ranges do not overlap."""
    lows = [c.low for c in (first, second) if c.low is not None]
    highs = [c.high for c in (first, second) if c.high is not None]
    low, high = max(lows, default=None), min(highs, default=None)
    if low is not None and high is not None and low > high:
        return None
    return Clamp(low, high)


def _is_exact(first: Clamp, both: Clamp, clip: ops.Clip, middle: Tensor, y: Tensor) -> bool:
    if not has_few_values(middle):
        return False
    values = all_values(middle.dtype)
    stepwise = elementwise(clip, middle, y, np.clip(values, *clamp_limits(first, middle)).astype(values.dtype))
    return bool(np.array_equal(stepwise, np.clip(values, *clamp_limits(both, y))))
