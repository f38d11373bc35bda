"""Kernels for convolutions in groups: those for convolutions without groups, on one group after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tinyopt.graph import Graph, GraphBuilder, Operator, ops
from tinyopt.plan.catalogue import convolution_blocks, convolution_mve, convolution_triples
from tinyopt.plan.catalogue.convolution import is_int8
from tinyopt.plan.joining import Part, joined_fields, joined_weights, kernel_of_parts
from tinyopt.plan.kernel import Call, Kernel, Value

_COPY, _GROUP = 1.45, 100.0
"""Cycles to copy an element to a group's plane or from it, and those that a group takes whatever its size; fitted on
the emulated M4."""


def one_group(graph: Graph, operator: Operator, group: int = 0) -> Part:
    """The convolution of one group, alone in a graph."""
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.Conv2d)
    x, w = ins[0], ins[1]
    count = w.shape[0] // a.groups
    channels = np.arange(group * count, (group + 1) * count)
    builder = GraphBuilder(operator.name)
    names = [builder.input(x.name, (*x.shape[:3], w.shape[3]), x.dtype, x.quantization)]
    names += [
        builder.constant(t.name, t.value[channels], t.quantization and t.quantization.take(channels)) for t in ins[1:]
    ]
    output = builder.add(replace(a, groups=1), names, name=operator.name, output=y.name, quantization=y.quantization)
    builder.output(output)
    alone = builder.build()
    return alone, alone.operators[0]


def _groups(graph: Graph, operator: Operator) -> Iterator[Part] | None:
    a = operator.attributes
    if not isinstance(a, ops.Conv2d) or a.groups == 1 or not is_int8(graph, operator):
        return None
    return (one_group(graph, operator, group) for group in range(a.groups))


def _join(graph: Graph, operator: Operator, calls: Sequence[Call]) -> tuple[dict[str, Value], int]:
    x, w, y = *graph.ins(operator)[:2], graph.outs(operator)[0]
    weights, group_bytes = joined_weights(calls, w.name)
    in_place = bool(calls[0].in_place)
    planes = [x.size // len(calls)] + ([] if in_place else [y.size // len(calls)])
    parameters: dict[str, Value] = {
        "weights": weights,
        "group": joined_fields(calls, y.shape[3] // len(calls)),
        "groups": len(calls),
        "group_bytes": group_bytes,
        "in_place": int(in_place),
    }
    return parameters, sum(-(-size // 8) * 8 for size in planes) + calls[0].scratch


def _grouped(dense: Kernel) -> Kernel:
    """The kernel that calls another for every group."""

    def cost(graph: Graph, operator: Operator) -> float:
        alone, y = one_group(graph, operator), graph.outs(operator)[0]
        groups = y.shape[3] // alone[0].outs(alone[1])[0].shape[3]
        copied = _COPY * (graph.ins(operator)[0].size + y.size)
        return groups * (dense.cost(*alone) + _GROUP) + copied

    return kernel_of_parts("grouped", dense, split=_groups, join=_join, cost=cost)


_DENSE = (*convolution_triples.KERNELS, *convolution_blocks.KERNELS, *convolution_mve.KERNELS)

KERNELS = tuple(_grouped(kernel) for kernel in _DENSE)
