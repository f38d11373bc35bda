"""Whether samples can be stacked along the batch axis of a graph."""

from __future__ import annotations

from tinyopt.graph import Graph, Operator, ops
from tinyopt.graph.ops import Attributes

_PARAMETERS: dict[type[Attributes], int | None] = {
    **dict.fromkeys((ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected), None),
    **dict.fromkeys((ops.BatchNorm, ops.LayerNorm, ops.Prelu), None),
    ops.Lstm: 4,
    ops.Gru: 5,
}
"""Operators whose inputs from 1 up to here are shared by all samples."""

_LAST_AXIS = (ops.Softmax, ops.LogSoftmax, ops.FullyConnected, ops.LayerNorm, ops.BatchNorm, ops.Prelu)
"""Operators whose last axis is not the batch."""


def batch_problem(graph: Graph) -> str | None:
    """Why samples cannot be stacked along axis 0 of this graph, or None when they can.

    They can when every activation has a leading axis of one and no operator moves, merges or reduces it.
    """
    if graph.states:
        return f"state '{graph.states[0].name}' ties each sample to the one before"
    for operator in graph.operators:
        a = operator.attributes
        varying = [t for t in graph.ins(operator) if not t.is_constant]
        if not varying:
            continue
        where = f"operator '{operator.name}' ({operator.kind})"
        if any(not t.shape or t.shape[0] != 1 for t in (*varying, *graph.outs(operator))):
            return f"{where} has a tensor without a leading axis of one"
        moved = (
            (isinstance(a, ops.Transpose) and a.perm[0] != 0)
            or (isinstance(a, ops.Reduce) and 0 in a.axes)
            or (isinstance(a, (ops.Concat, ops.ArgMax)) and a.axis == 0)
            or (isinstance(a, ops.Split) and a.axis == 0)
            or (isinstance(a, ops.Pad) and bool(a.before[0] or a.after[0]))
            or (isinstance(a, ops.Gather) and (a.axis == 0) != graph.ins(operator)[0].is_constant)
            or (isinstance(a, _LAST_AXIS) and len(varying[0].shape) < 2)
            or (isinstance(a, ops.MatMul) and any(len(t.shape) < 3 for t in varying[a.transpose_a :]))
            or any(not t.is_constant for t in graph.ins(operator)[1 : _PARAMETERS.get(type(a), 1)])
            or (isinstance(a, (ops.Binary, ops.BroadcastTo)) and _gains_axes(graph, operator))
            or (isinstance(a, ops.Slice) and a.begin[0] != 0)
            or (isinstance(a, (ops.Lstm, ops.Gru)) and len(varying[0].shape) != 3)
        )
        if moved:
            return f"{where} works along the batch axis"
    return None


def _gains_axes(graph: Graph, operator: Operator) -> bool:
    """True when a varying operand has fewer axes than the result: its batch axis would be taken for another."""
    rank = len(graph.outs(operator)[0].shape)
    return any(len(t.shape) != rank for t in graph.ins(operator) if not t.is_constant)
