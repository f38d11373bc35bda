"""Fully connected layers with Helium (MVE): four outputs at a time."""

from __future__ import annotations

import math

from tinyopt.execute.integer.convolution import fully_connected_multipliers
from tinyopt.graph import Graph, Operator, ops
from tinyopt.plan.blocks_mve import VECTOR, pack_vectors, padded_to_vectors
from tinyopt.plan.catalogue.convolution import is_int8
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import all_shift_right, folded_bias, output_limits


def _accepts(graph: Graph, operator: Operator) -> bool:
    if not isinstance(operator.attributes, ops.FullyConnected) or not is_int8(graph, operator):
        return False
    ins = graph.ins(operator)
    return all_shift_right(*fully_connected_multipliers(ins[0], ins[1], graph.outs(operator)[0]))


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.FullyConnected)
    x, w = ins[0], ins[1]
    stream = pack_vectors(w.value[:, None, :], folded_bias(ins, w.value), *fully_connected_multipliers(x, w, y))
    parameters: dict[str, Value] = {
        "weights": Constant(stream, source=w.name),
        "rows": math.prod(x.shape[:-1]),
        "input_size": w.shape[1],
        "output_size": w.shape[0],
        **output_limits(y, a.activation),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,))


def _cost(graph: Graph, operator: Operator) -> float:
    w, y = graph.ins(operator)[1], graph.outs(operator)[0]
    rows = y.size // w.shape[0]
    return rows * (20 + -(-w.shape[0] // 4) * (10 * padded_to_vectors(w.shape[1]) / VECTOR + 34))


KERNELS = (
    Kernel(
        name="fully_connected_s8_mve",
        family="fully_connected_s8",
        source="mve.c",
        accepts=_accepts,
        lower=_lower,
        cost=_cost,
        requires=frozenset({"mve"}),
        needs=("common.h", "mve.h"),
    ),
)
