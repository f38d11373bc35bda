"""Kernels for depthwise convolutions of several outputs a channel: those for one output, once for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tinyopt.graph import Graph, GraphBuilder, Operator, Quantization, Tensor, ops
from tinyopt.plan.catalogue import convolution, depthwise_3x3, depthwise_lines, depthwise_lines_dsp, depthwise_mve
from tinyopt.plan.catalogue.convolution import is_int8
from tinyopt.plan.joining import joined_fields, joined_weights
from tinyopt.plan.kernel import Call, Kernel, Value

_STORE, _PART = 5.0, 150.0
"""Cycles to store an output where it belongs, and those that a part takes whatever its size."""


def one_part(graph: Graph, operator: Operator, part: int = 0) -> tuple[Graph, Operator]:
    """The depthwise convolution of every channel's output ``part``, alone in a graph."""
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    channels = slice(part, None, a.multiplier)
    builder = GraphBuilder(operator.name)
    names = [builder.input(ins[0].name, ins[0].shape, ins[0].dtype, ins[0].quantization)]
    names += [builder.constant(t.name, t.value[..., channels].copy(), _of_channels(t, channels)) for t in ins[1:]]
    attributes = replace(a, multiplier=1)
    builder.output(builder.add(attributes, names, name=operator.name, output=y.name, quantization=y.quantization))
    alone = builder.build()
    return alone, alone.operators[0]


def _of_channels(tensor: Tensor, channels: slice) -> Quantization | None:
    """The quantization of some channels of weights or a bias; they are on the last axis."""
    quantization = tensor.quantization
    if quantization is None or quantization.axis is None:
        return quantization
    return Quantization(quantization.scales[channels], quantization.zero_points[channels], quantization.axis)


def _parts(graph: Graph, operator: Operator) -> Iterator[tuple[Graph, Operator]]:
    a = operator.attributes
    assert isinstance(a, ops.DepthwiseConv2d)
    return (one_part(graph, operator, part) for part in range(a.multiplier))


def _multiplied(dense: Kernel) -> Kernel:
    """The kernel that calls another for every output of a channel."""

    def accepts(graph: Graph, operator: Operator) -> bool:
        a = operator.attributes
        if not isinstance(a, ops.DepthwiseConv2d) or a.multiplier == 1 or not is_int8(graph, operator):
            return False
        return all(dense.accepts(*part) for part in _parts(graph, operator))

    def lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
        calls = [dense.lower(*part, dense) for part in _parts(graph, operator)]
        x, w, y = *graph.ins(operator)[:2], graph.outs(operator)[0]
        weights, part_bytes = joined_weights(calls, w.name)
        parameters: dict[str, Value] = {
            "weights": weights,
            "part": joined_fields(calls, x.shape[3]),
            "multiplier": len(calls),
            "part_bytes": part_bytes,
        }
        scratch = -(-(y.size // len(calls)) // 8) * 8 + calls[0].scratch
        return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch)

    def cost(graph: Graph, operator: Operator) -> float:
        a, y = operator.attributes, graph.outs(operator)[0]
        assert isinstance(a, ops.DepthwiseConv2d)
        return a.multiplier * (dense.cost(*one_part(graph, operator)) + _PART) + _STORE * y.size

    return Kernel(
        name=f"multiplied_{dense.name}",
        family=f"multiplied_{dense.family}",
        source=dense.source,
        accepts=accepts,
        lower=lower,
        cost=cost,
        requires=dense.requires,
        needs=("columns.h", f"{dense.family}/{dense.source}", *dense.needs),
        uses_scratch=True,
        base=dense.name,
    )


_DENSE = (
    *depthwise_lines.KERNELS,
    *(kernel for kernel in convolution.KERNELS if kernel.name == "depthwise_conv2d_s8_dsp"),
    *depthwise_3x3.KERNELS,
    *depthwise_lines_dsp.KERNELS,
    *depthwise_mve.KERNELS,
)

KERNELS = tuple(_multiplied(kernel) for kernel in _DENSE)
