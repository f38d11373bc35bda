"""Kernels for depthwise convolutions of several outputs a channel: those for one output, once for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tinyopt.graph import Graph, GraphBuilder, Operator, ops
from tinyopt.plan.catalogue import convolution, depthwise_3x3, depthwise_lines, depthwise_lines_dsp, depthwise_mve
from tinyopt.plan.catalogue.convolution import is_int8
from tinyopt.plan.joining import Part, joined_fields, joined_weights, kernel_of_parts
from tinyopt.plan.kernel import Call, Kernel, Value

_STORE, _PART = 5.0, 150.0
"""Cycles to store an output where it belongs, and those that a part takes whatever its size."""


def one_part(graph: Graph, operator: Operator, part: int = 0) -> Part:
    """The depthwise convolution of every channel's output ``part``, alone in a graph."""
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    channels = np.arange(part, y.shape[3], a.multiplier)
    builder = GraphBuilder(operator.name)
    names = [builder.input(ins[0].name, ins[0].shape, ins[0].dtype, ins[0].quantization)]
    names += [
        builder.constant(t.name, t.value[..., channels], t.quantization and t.quantization.take(channels))
        for t in ins[1:]
    ]
    attributes = replace(a, multiplier=1)
    builder.output(builder.add(attributes, names, name=operator.name, output=y.name, quantization=y.quantization))
    alone = builder.build()
    return alone, alone.operators[0]


def _parts(graph: Graph, operator: Operator) -> Iterator[Part] | None:
    a = operator.attributes
    if not isinstance(a, ops.DepthwiseConv2d) or a.multiplier == 1 or not is_int8(graph, operator):
        return None
    return (one_part(graph, operator, part) for part in range(a.multiplier))


def _join(graph: Graph, operator: Operator, calls: Sequence[Call]) -> tuple[dict[str, Value], int]:
    x, w, y = *graph.ins(operator)[:2], graph.outs(operator)[0]
    weights, part_bytes = joined_weights(calls, w.name)
    parameters: dict[str, Value] = {
        "weights": weights,
        "part": joined_fields(calls, x.shape[3]),
        "multiplier": len(calls),
        "part_bytes": part_bytes,
    }
    return parameters, -(-(y.size // len(calls)) // 8) * 8 + calls[0].scratch


def _multiplied(dense: Kernel) -> Kernel:
    """The kernel that calls another for every output of a channel."""

    def cost(graph: Graph, operator: Operator) -> float:
        a, y = operator.attributes, graph.outs(operator)[0]
        assert isinstance(a, ops.DepthwiseConv2d)
        return a.multiplier * (dense.cost(*one_part(graph, operator)) + _PART) + _STORE * y.size

    return kernel_of_parts("multiplied", dense, split=_parts, join=_join, cost=cost)


_DENSE = (
    *depthwise_lines.KERNELS,
    *(kernel for kernel in convolution.KERNELS if kernel.name == "depthwise_conv2d_s8_dsp"),
    *depthwise_3x3.KERNELS,
    *depthwise_lines_dsp.KERNELS,
    *depthwise_mve.KERNELS,
)

KERNELS = tuple(_multiplied(kernel) for kernel in _DENSE)
