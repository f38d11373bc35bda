"""Kernels of float32 layers whose weights are numbers of half precision: they take two bytes each."""

from __future__ import annotations

import numpy as np

from tinyopt.graph import DType, Graph, Operator, Tensor, ops
from tinyopt.plan.catalogue import convolution_float
from tinyopt.plan.kernel import Call, Constant, Kernel, Value

_WIDENING = 3.0
"""Cycles for each weight that is widened; fitted on the emulated M4, whose floating-point unit does it."""
_BLOCK_BYTES = 4096
"""Bytes of widened weights that a convolution may have at a time, if that is more than one channel's."""


def is_half(tensor: Tensor) -> bool:
    """Whether half precision holds every value of a float32 constant of more than one axis."""
    if tensor.data is None or tensor.dtype is not DType.FLOAT32 or len(tensor.shape) < 2:
        return False
    with np.errstate(over="ignore"):
        return bool(np.array_equal(tensor.data.astype(np.float16).astype(np.float32), tensor.data))


def _block(graph: Graph, operator: Operator) -> int:
    """Output channels whose weights a convolution widens together; a depthwise one widens all at once."""
    a, w = operator.attributes, graph.ins(operator)[1]
    if not isinstance(a, ops.Conv2d):
        return 1
    return min(max(_BLOCK_BYTES * w.shape[0] // (4 * w.size), 1), w.shape[0] // a.groups)


def _half(dense: Kernel) -> Kernel:
    def accepts(graph: Graph, operator: Operator) -> bool:
        if not dense.accepts(graph, operator):
            return False
        return is_half(graph.ins(operator)[1])

    def scratch(graph: Graph, operator: Operator) -> int:
        """Bytes of float32 weights that are widened at a time."""
        if dense.family == "fully_connected_f32":
            return 0
        w = graph.ins(operator)[1]
        return 4 * w.size // w.shape[0] * _block(graph, operator)

    def lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
        call, w = dense.lower(graph, operator, dense), graph.ins(operator)[1]
        parameters: dict[str, Value] = {
            "weights": Constant(w.value.astype(np.float16).view(np.uint16), source=w.name),
            "dense": {name: value for name, value in call.parameters.items() if name != "weights"},
        }
        if dense.family == "conv2d_f32":
            parameters["block"] = _block(graph, operator)
        return Call(kernel, operator, parameters, call.inputs, call.outputs, scratch(graph, operator))

    def cost(graph: Graph, operator: Operator) -> float:
        weights, rows = graph.ins(operator)[1].size, 1
        if dense.family == "fully_connected_f32":
            rows = graph.outs(operator)[0].size // graph.outs(operator)[0].shape[-1]
        return dense.cost(graph, operator) + 100 + _WIDENING * weights * rows

    return Kernel(
        name=f"half_{dense.name}",
        family=f"half_{dense.family}",
        source=dense.source,
        accepts=accepts,
        lower=lower,
        cost=cost,
        needs=("half.h", f"{dense.family}/{dense.source}", *dense.needs),
        uses_scratch=dense.family != "fully_connected_f32",
        base=dense.name,
    )


_FAMILIES = ("conv2d_f32", "depthwise_conv2d_f32", "fully_connected_f32")

KERNELS = tuple(_half(kernel) for kernel in convolution_float.KERNELS if kernel.family in _FAMILIES)
