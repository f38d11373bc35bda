"""Kernels of FullyConnected on int8 tensors."""

from __future__ import annotations

import math
from dataclasses import replace

from tinyopt.execute.integer.convolution import fully_connected_multipliers
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.catalogue.convolution import is_int8
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import (
    all_shift_right,
    bias_name,
    folded_bias,
    interleave_words,
    output_limits,
    requantization,
    right_shifts,
    sum_reach,
)


def _accepts(graph: Graph, operator: Operator) -> bool:
    return isinstance(operator.attributes, ops.FullyConnected) and is_int8(graph, operator)


def _lower(graph: Graph, operator: Operator, kernel: Kernel, weights: Array) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.FullyConnected)
    x, w = ins[0], ins[1]
    parameters: dict[str, Value] = {
        "weights": Constant(weights, source=w.name),
        "bias": Constant(folded_bias(ins, w.value), source=bias_name(ins)),
        **requantization(*fully_connected_multipliers(x, w, y)),
        "rows": math.prod(x.shape[:-1]),
        "input_size": w.shape[1],
        "output_size": w.shape[0],
        **output_limits(y, a.activation),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,))


def _lower_ref(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    return _lower(graph, operator, kernel, graph.ins(operator)[1].value)


def _cost_ref(graph: Graph, operator: Operator) -> float:
    return 8.0 * operator_macs(graph, operator) + 40 * graph.outs(operator)[0].size


def _accepts_dsp(graph: Graph, operator: Operator) -> bool:
    if not _accepts(graph, operator):
        return False
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    reach = sum_reach(ins[1].value, folded_bias(ins, ins[1].value))
    return reach < 1 << 30 and all_shift_right(*fully_connected_multipliers(ins[0], ins[1], y))


def _lower_dsp(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    call = _lower(graph, operator, kernel, interleave_words(graph.ins(operator)[1].value, block=4))
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    multipliers, shifts = fully_connected_multipliers(ins[0], ins[1], y)
    scales = requantization(multipliers, right_shifts(multipliers, shifts))
    return replace(call, parameters={**call.parameters, **scales})


def _cost_dsp(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M4."""
    size = graph.ins(operator)[1].shape[1]
    return 1.9 * operator_macs(graph, operator) * (-(-size // 4) * 4) / size + 30 * graph.outs(operator)[0].size


KERNELS = (
    Kernel(
        name="fully_connected_s8_ref",
        family="fully_connected_s8",
        source="ref.c",
        accepts=_accepts,
        lower=_lower_ref,
        cost=_cost_ref,
        needs=("common.h", "dot.h"),
    ),
    Kernel(
        name="fully_connected_s8_dsp",
        family="fully_connected_s8",
        source="dsp.c",
        accepts=_accepts_dsp,
        lower=_lower_dsp,
        cost=_cost_dsp,
        requires=frozenset({"dsp"}),
        needs=("common.h", "dsp.h"),
    ),
)
