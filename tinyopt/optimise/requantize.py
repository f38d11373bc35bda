"""Merging of changes of number format, where trying every value shows that nothing changes."""

from __future__ import annotations

import numpy as np

from tinyopt.graph import DType, Graph, Tensor, ops
from tinyopt.optimise.evaluate import all_values, elementwise, has_few_values
from tinyopt.optimise.rewriter import Rewriter


def merge_requantizations(graph: Graph) -> Graph:
    """Quantize after Quantize or Dequantize → one Quantize, when all values of the source give the same result."""
    edit = Rewriter(graph)
    for operator in edit.scan():
        if not isinstance(operator.attributes, (ops.Quantize, ops.Dequantize)):
            continue
        first = edit.producer(operator.inputs[0])
        if first is None or not isinstance(first.attributes, (ops.Quantize, ops.Dequantize)):
            continue
        x, middle, y = edit.ins(first)[0], edit.outs(first)[0], edit.outs(operator)[0]
        if x.dtype is DType.FLOAT32 or not has_few_values(x):
            continue
        direct: ops.Attributes = ops.Dequantize() if y.dtype is DType.FLOAT32 else ops.Quantize()
        values = all_values(x.dtype)
        chained = elementwise(operator.attributes, middle, y, elementwise(first.attributes, x, middle, values))
        if _same_format(x, y):
            if np.array_equal(values, chained):
                edit.bypass(operator, x.name)
        elif np.array_equal(elementwise(direct, x, y, values), chained):
            edit.change(operator, direct, (x.name,))
    return edit.finish()


def _same_format(x: Tensor, y: Tensor) -> bool:
    return x.dtype is y.dtype and x.quantization == y.quantization
