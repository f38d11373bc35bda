"""What an operator costs on paper: multiply-accumulates, parameter bytes, live activation bytes."""

from __future__ import annotations

import math

from tinyopt.graph import ops
from tinyopt.graph.graph import Graph, Operator


def operator_macs(graph: Graph, operator: Operator) -> int:
    """Multiply-accumulates of one operator (padding counted, as is usual); 0 for operators without products."""
    a, ins, outs = operator.attributes, graph.ins(operator), graph.outs(operator)
    out = outs[0].size
    if isinstance(a, ops.DynamicRange):
        a = a.layer
    if isinstance(a, (ops.Conv2d, ops.DepthwiseConv2d)):
        w = ins[1].shape
        return out * w[1] * w[2] * (w[3] if isinstance(a, ops.Conv2d) else 1)
    if isinstance(a, ops.XnorConv2d):
        height, width = outs[0].shape[1:3]
        return outs[0].shape[0] * height * width * ins[1].shape[0] * ins[1].shape[1] * ins[1].shape[2] * a.channels
    if isinstance(a, ops.TransposeConv2d):
        w = ins[1].shape
        return ins[0].size * w[0] * w[1] * w[2]
    if isinstance(a, ops.FullyConnected):
        return out * ins[1].shape[1]
    if isinstance(a, ops.MatMul):
        return out * (ins[0].shape[-2] if a.transpose_a else ins[0].shape[-1])
    if isinstance(a, (ops.Lstm, ops.Gru)):
        steps = ins[0].shape[0] * ins[0].shape[1]
        return steps * (ins[1].size + ins[2].size)
    return 0


def graph_macs(graph: Graph) -> int:
    return sum(operator_macs(graph, operator) for operator in graph.operators)


def parameter_bytes(graph: Graph) -> int:
    """Bytes of all constants, each once."""
    return sum(tensor.nbytes for tensor in graph.constants())


def operator_parameter_bytes(graph: Graph, operator: Operator) -> int:
    return sum(tensor.nbytes for tensor in graph.ins(operator) if tensor.is_constant)


def lifetimes(graph: Graph) -> dict[str, tuple[int, int]]:
    """First and last operator index at which each activation must exist.

    Inputs and states live from 0; outputs and new states to the last operator. Reshapes count as copies here.
    """
    last = max(len(graph.operators) - 1, 0)
    spans: dict[str, tuple[int, int]] = dict.fromkeys(graph.given, (0, 0))
    for index, operator in enumerate(graph.operators):
        for name in operator.inputs:
            if not graph.tensors[name].is_constant:
                spans[name] = (spans[name][0], index)
        for name in operator.outputs:
            spans[name] = (index, index)
    for name in graph.kept:
        if name in spans:
            spans[name] = (spans[name][0], last)
    for state in graph.states:
        spans[state.read] = (0, last)
    return spans


def peak_activation_bytes(graph: Graph, *, alignment: int = 1) -> int:
    """The largest sum of activation bytes that are alive at one operator: a lower bound for any arena without
    in-place operators."""
    total = [0] * max(len(graph.operators), 1)
    for name, (first, last) in lifetimes(graph).items():
        size = math.ceil(graph.tensors[name].nbytes / alignment) * alignment
        for index in range(first, last + 1):
            total[index] += size
    return max(total)
