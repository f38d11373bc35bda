"""Samples stacked along the batch axis of a graph: whether they can be, and the graph for several."""

from __future__ import annotations

from dataclasses import replace

from tinyopt.graph import ops
from tinyopt.graph.graph import Graph, Operator
from tinyopt.graph.ops import Attributes

_PARAMETERS: dict[type[Attributes], int | None] = {
    **dict.fromkeys((ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected), None),
    **dict.fromkeys((ops.BatchNorm, ops.LayerNorm, ops.Prelu), None),
    ops.Lstm: 4,
    ops.Gru: 5,
}
"""Operators whose inputs from 1 up to here are shared by all samples."""

_LAST_AXIS = (
    ops.Softmax,
    ops.LogSoftmax,
    ops.FullyConnected,
    ops.DynamicFullyConnected,
    ops.LayerNorm,
    ops.BatchNorm,
    ops.Prelu,
)
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


def for_batch(attributes: Attributes, batch: int) -> Attributes:
    """The attributes that do for ``batch`` stacked samples what these do for one: shapes grow along axis 0."""
    if batch == 1:
        return attributes
    if isinstance(attributes, (ops.Reshape, ops.BroadcastTo)) and attributes.shape:
        return replace(attributes, shape=(attributes.shape[0] * batch, *attributes.shape[1:]))
    if isinstance(attributes, ops.Slice) and attributes.size:
        return replace(attributes, size=(attributes.size[0] * batch, *attributes.size[1:]))
    return attributes


def stacked(graph: Graph, batch: int) -> Graph:
    """The graph for ``batch`` samples at once; only where ``batch_problem`` finds none. Constants stay as they are."""
    tensors = {
        name: t if t.is_constant else replace(t, shape=(batch * t.shape[0], *t.shape[1:]))
        for name, t in graph.tensors.items()
    }
    operators = tuple(replace(o, attributes=for_batch(o.attributes, batch)) for o in graph.operators)
    return replace(graph, tensors=tensors, operators=operators)
