"""Fully connected layers and convolutions of mostly zero weights with Helium (MVE): sixteen inputs of four outputs at a
time, wherever the inputs lie."""

from __future__ import annotations

import math

from tinyopt.execute.integer.convolution import fully_connected_multipliers, output_multipliers
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.plan.catalogue.convolution import contiguous_patches, is_int8, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import all_shift_right, folded_bias, output_limits
from tinyopt.plan.sparse import count_groups, pack_groups, suits_4x1

DENSE, CONVOLUTION = "sparse_fully_connected_s8", "sparse_conv2d_s8"
_GATHER = 14
"""Cycles that a gather of sixteen bytes is charged beyond any other load. The cycle model knows of none; a core is
likely to fetch an element at a time."""


def _rows(graph: Graph, operator: Operator) -> Array:
    """[outputs, taps]"""
    weights = graph.ins(operator)[1].value
    return weights.reshape(weights.shape[0], -1)


def _scales(graph: Graph, operator: Operator) -> tuple[Array, Array]:
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    if isinstance(operator.attributes, ops.FullyConnected):
        return fully_connected_multipliers(ins[0], ins[1], y)
    return output_multipliers(ins[0], ins[1], y)


def _suits(graph: Graph, operator: Operator) -> bool:
    return is_int8(graph, operator) and all_shift_right(*_scales(graph, operator)) and suits_4x1(_rows(graph, operator))


def _accepts_dense(graph: Graph, operator: Operator) -> bool:
    return isinstance(operator.attributes, ops.FullyConnected) and _suits(graph, operator)


def _accepts_convolution(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    return isinstance(a, ops.Conv2d) and a.groups == 1 and _suits(graph, operator)


def _stream(graph: Graph, operator: Operator) -> Constant:
    ins = graph.ins(operator)
    weights = _rows(graph, operator)
    stream = pack_groups(weights, folded_bias(ins, weights), *_scales(graph, operator))
    return Constant(stream, source=ins[1].name)


def _lower_dense(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, (x, w), y = operator.attributes, graph.ins(operator)[:2], graph.outs(operator)[0]
    assert isinstance(a, ops.FullyConnected)
    parameters: dict[str, Value] = {
        "weights": _stream(graph, operator),
        "rows": math.prod(x.shape[:-1]),
        "input_size": w.shape[1],
        "output_size": w.shape[0],
        **output_limits(y, a.activation),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,))


def _lower_convolution(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, (x, w), y = operator.attributes, graph.ins(operator)[:2], graph.outs(operator)[0]
    assert isinstance(a, ops.Conv2d)
    contiguous = contiguous_patches(graph, operator)
    parameters: dict[str, Value] = {
        "weights": _stream(graph, operator),
        **window_fields(a, x, y, (w.shape[1], w.shape[2])),
        "output_channels": w.shape[0],
        "groups": 1,
        "contiguous": int(contiguous),
        "input_zero_point": x.zero_point,
        **output_limits(y, a.activation),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,), 0 if contiguous else w.size // w.shape[0])


def _per_pixel(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M55, but for the gathers."""
    weights = _rows(graph, operator)
    return (19 + _GATHER) * count_groups(weights) + 60 * -(-len(weights) // 4)


def _cost_dense(graph: Graph, operator: Operator) -> float:
    y = graph.outs(operator)[0]
    return y.size // y.shape[-1] * _per_pixel(graph, operator)


def _cost_convolution(graph: Graph, operator: Operator) -> float:
    w, y = graph.ins(operator)[1], graph.outs(operator)[0]
    patch = 50 if contiguous_patches(graph, operator) else w.shape[1] * 250 + 100
    return float(y.size // y.shape[3] * (_per_pixel(graph, operator) + patch))


KERNELS = (
    Kernel(
        name=f"{DENSE}_4x16_mve",
        family=DENSE,
        source="4x16_mve.c",
        accepts=_accepts_dense,
        lower=_lower_dense,
        cost=_cost_dense,
        requires=frozenset({"mve"}),
        needs=("common.h", "mve.h", "sparse_mve.h"),
        counts_weights=True,
    ),
    Kernel(
        name=f"{CONVOLUTION}_4x16_mve",
        family=CONVOLUTION,
        source="4x16_mve.c",
        accepts=_accepts_convolution,
        lower=_lower_convolution,
        cost=_cost_convolution,
        requires=frozenset({"mve"}),
        needs=("common.h", "mve.h", "sparse_mve.h", "window.h"),
        uses_scratch=True,
        counts_weights=True,
    ),
)
