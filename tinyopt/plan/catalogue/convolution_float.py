"""Kernels of the convolutions and fully connected layers on float32 tensors."""

from __future__ import annotations

import math
from collections.abc import Callable

from tinyopt.graph import DType, Graph, Operator, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.catalogue.convolution import Windowed, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value, all_dtypes
from tinyopt.plan.packing import float_limits


def _accepts(kind: type[ops.Attributes]) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        """float32 activations, constant weights and bias."""
        is_float = all_dtypes(graph, operator, DType.FLOAT32)
        return (
            isinstance(operator.attributes, kind) and is_float and all(t.is_constant for t in graph.ins(operator)[1:])
        )

    return accepts


def _parameters(graph: Graph, operator: Operator) -> dict[str, Value]:
    ins = graph.ins(operator)
    return {
        "weights": Constant(ins[1].value, source=ins[1].name),
        "bias": Constant(ins[2].value, source=ins[2].name) if len(ins) > 2 else None,
    }


def _lower_window(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, (x, w), y = operator.attributes, graph.ins(operator)[:2], graph.outs(operator)[0]
    assert isinstance(a, Windowed)
    parameters = _parameters(graph, operator) | window_fields(a, x, y, (w.shape[1], w.shape[2]))
    if isinstance(a, ops.DepthwiseConv2d):
        parameters["multiplier"] = a.multiplier
    else:
        parameters["output_channels"] = w.shape[0]
    if isinstance(a, ops.Conv2d):
        parameters["groups"] = a.groups
    return Call(kernel, operator, parameters | dict(float_limits(a.activation)), (x.name,), (y.name,))


def _lower_fully_connected(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, (x, w), y = operator.attributes, graph.ins(operator)[:2], graph.outs(operator)[0]
    assert isinstance(a, ops.FullyConnected)
    parameters: dict[str, Value] = {
        **_parameters(graph, operator),
        "rows": math.prod(x.shape[:-1]),
        "input_size": w.shape[1],
        "output_size": w.shape[0],
        **float_limits(a.activation),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,))


def _cost(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M4, whose floating-point unit adds and multiplies float32: products, what the run of every
    tap costs, and what an output does."""
    products, w, y = 10.0 * operator_macs(graph, operator), graph.ins(operator)[1], graph.outs(operator)[0]
    if isinstance(operator.attributes, ops.FullyConnected):
        return products + 30 * y.size
    return products + (80 + 11 * w.shape[1] * w.shape[2]) * y.size


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
    )


KERNELS = (
    _kernel(ops.Conv2d, "conv2d_f32"),
    _kernel(ops.DepthwiseConv2d, "depthwise_conv2d_f32"),
    _kernel(ops.TransposeConv2d, "transpose_conv2d_f32"),
    _kernel(ops.FullyConnected, "fully_connected_f32"),
)
