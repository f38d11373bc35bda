"""Kernels of the convolutions, fully connected layers and matrix products on int16 activations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinyopt.execute.integer.convolution import fully_connected_multipliers, has_wide_sums, output_multipliers
from tinyopt.graph import Array, DType, Graph, Operator, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.catalogue.convolution import Windowed, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value, all_dtypes
from tinyopt.plan.packing import bias_name, output_limits, requantization

LARGEST_WIDE_SHIFT = 7
"""64-bit sums have no room for a larger shift to the left."""


def _multipliers(graph: Graph, operator: Operator) -> tuple[Array, Array]:
    (x, w), y = graph.ins(operator)[:2], graph.outs(operator)[0]
    if isinstance(operator.attributes, ops.FullyConnected):
        return fully_connected_multipliers(x, w, y)
    return output_multipliers(x, w, y)


def _accepts(kind: type[ops.Attributes]) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        """int16 activations with zero points 0, constant int8 weights, constant bias or none."""
        ins, y = graph.ins(operator), graph.outs(operator)[0]
        if not isinstance(operator.attributes, kind) or not all_dtypes(graph, operator, DType.INT16, inputs=(0,)):
            return False
        if ins[1].dtype is not DType.INT8 or not all(t.is_constant for t in ins[1:]):
            return False
        if ins[0].zero_point or y.zero_point:
            return False
        return not has_wide_sums(ins) or bool(_multipliers(graph, operator)[1].max() <= LARGEST_WIDE_SHIFT)

    return accepts


def _parameters(graph: Graph, operator: Operator) -> dict[str, Value]:
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    a = operator.attributes
    assert isinstance(a, (Windowed, ops.FullyConnected))
    bias = Constant(ins[2].value.astype(np.int64), align=8, source=bias_name(ins)) if len(ins) > 2 else None
    limits = output_limits(y, a.activation)
    return {
        "weights": Constant(ins[1].value, source=ins[1].name),
        "bias": bias,
        **requantization(*_multipliers(graph, operator)),
        "wide_sums": int(has_wide_sums(ins)),
        "clamp_low": limits["clamp_low"],
        "clamp_high": limits["clamp_high"],
    }


def _lower_window(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, (x, w), y = operator.attributes, graph.ins(operator)[:2], graph.outs(operator)[0]
    assert isinstance(a, Windowed)
    parameters = _parameters(graph, operator) | window_fields(a, x, y, (w.shape[1], w.shape[2]))
    scratch = 0
    if isinstance(a, ops.DepthwiseConv2d):
        parameters["multiplier"] = a.multiplier
    else:
        parameters["output_channels"] = w.shape[0]
    if isinstance(a, ops.Conv2d):
        parameters["groups"] = a.groups
    if isinstance(a, ops.TransposeConv2d):
        scratch = 8 * w.shape[0]
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch)


def _lower_fully_connected(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    (x, w), y = graph.ins(operator)[:2], graph.outs(operator)[0]
    sizes = {"rows": math.prod(x.shape[:-1]), "input_size": w.shape[1], "output_size": w.shape[0]}
    return Call(kernel, operator, _parameters(graph, operator) | sizes, (x.name,), (y.name,))


def _cost(graph: Graph, operator: Operator) -> float:
    return 7.0 * operator_macs(graph, operator) + 70 * graph.outs(operator)[0].size


def _kernel(kind: type[ops.Attributes], family: str) -> Kernel:
    window = kind is not ops.FullyConnected
    return Kernel(
        name=f"{family}_ref",
        family=family,
        source="ref.c",
        accepts=_accepts(kind),
        lower=_lower_window if window else _lower_fully_connected,
        cost=_cost,
        needs=("common.h", "window.h") if window else ("common.h",),
        uses_scratch=kind is ops.TransposeConv2d,
    )


KERNELS = (
    _kernel(ops.Conv2d, "conv2d_s16"),
    _kernel(ops.DepthwiseConv2d, "depthwise_conv2d_s16"),
    _kernel(ops.TransposeConv2d, "transpose_conv2d_s16"),
    _kernel(ops.FullyConnected, "fully_connected_s16"),
)
