"""The fully connected layer for cores without SIMD: four outputs at a time."""

from __future__ import annotations

import math

import numpy as np

from tinyopt.execute.integer.convolution import fully_connected_multipliers
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.catalogue.convolution import is_int8
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import bias_name, folded_bias, is_narrow, output_limits, requantization, right_shifts


def _accepts(graph: Graph, operator: Operator) -> bool:
    if not isinstance(operator.attributes, ops.FullyConnected) or not is_int8(graph, operator):
        return False
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    bias = folded_bias(ins, ins[1].value)
    return is_narrow(ins[1].value, bias, *fully_connected_multipliers(ins[0], ins[1], y))


def _pack(weights: Array) -> Array:
    """[outputs, inputs] → [blocks of four outputs, inputs, 4]; missing outputs are zero."""
    outputs, inputs = weights.shape
    padded = np.zeros((-(-outputs // 4), 4, inputs), np.int8)
    padded.reshape(-1, inputs)[:outputs] = weights
    result: Array = padded.swapaxes(1, 2)
    return result


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.FullyConnected)
    x, w = ins[0], ins[1]
    multipliers, shifts = fully_connected_multipliers(x, w, y)
    parameters: dict[str, Value] = {
        "weights": Constant(_pack(w.value), source=w.name),
        "bias": Constant(folded_bias(ins, w.value), source=bias_name(ins)),
        **requantization(multipliers, right_shifts(multipliers, shifts)),
        "rows": math.prod(x.shape[:-1]),
        "input_size": w.shape[1],
        "output_size": w.shape[0],
        **output_limits(y, a.activation),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,))


def _cost(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M0."""
    return 5.1 * operator_macs(graph, operator) + 80 * graph.outs(operator)[0].size


KERNELS = (
    Kernel(
        name="fully_connected_s8_quads",
        family="fully_connected_s8",
        source="quads.c",
        accepts=_accepts,
        lower=_lower,
        cost=_cost,
        needs=("common.h", "narrow.h"),
    ),
)
