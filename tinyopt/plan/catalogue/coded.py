"""Layers whose weights are entropy-coded, where flash counts more than time: they are decoded as they are used.

A convolution decodes its weights into scratch memory once for all pixels, a fully connected layer has no use for a
weight but one and decodes as it multiplies.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

from tinyopt.execute.integer.convolution import fully_connected_multipliers
from tinyopt.graph import Graph, Operator, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.catalogue import convolution, convolution_blocks, convolution_mve, convolution_triples
from tinyopt.plan.catalogue.convolution import is_int8
from tinyopt.plan.huffman import coded_bytes, encode
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import bias_name, folded_bias, output_limits, requantization

_WORTH = 0.95
"""Coded weights must be at least this much smaller to be considered."""
_DECODE, _DECODE_BIT = 20.0, 8.5
"""Cycles to decode a weight, and more for every bit of its code; fitted on the emulated M4."""


def _is_worth(graph: Graph, operator: Operator) -> bool:
    weights = graph.ins(operator)[1].value
    return coded_bytes(weights) <= _WORTH * weights.size


def _decode(graph: Graph, operator: Operator) -> float:
    """Cycles for a weight."""
    weights = graph.ins(operator)[1].value
    return _DECODE + _DECODE_BIT * 8 * coded_bytes(weights) / weights.size


def _accepts_dense(graph: Graph, operator: Operator) -> bool:
    layer = isinstance(operator.attributes, ops.FullyConnected) and is_int8(graph, operator)
    return layer and _is_worth(graph, operator)


def _lower_dense(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.FullyConnected)
    x, w = ins[0], ins[1]
    parameters: dict[str, Value] = {
        "weights": Constant(encode(w.value), align=1, source=w.name),
        "bias": Constant(folded_bias(ins, w.value), source=bias_name(ins)),
        **requantization(*fully_connected_multipliers(x, w, y)),
        "rows": math.prod(x.shape[:-1]),
        "input_size": w.shape[1],
        "output_size": w.shape[0],
        **output_limits(y, a.activation),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,))


def _cost_dense(graph: Graph, operator: Operator) -> float:
    return (_decode(graph, operator) + 8) * operator_macs(graph, operator) + 60 * graph.outs(operator)[0].size


def _convolution(kernels: tuple[Kernel, ...], name: str) -> Kernel:
    """The kernel that decodes weights for a kernel of plain ones."""
    dense = next(kernel for kernel in kernels if kernel.name == name)

    def accepts(graph: Graph, operator: Operator) -> bool:
        return dense.accepts(graph, operator) and _is_worth(graph, operator)

    def lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
        call = dense.lower(graph, operator, dense)
        weights = cast(Constant, call.parameters["weights"])
        fields = {name: value for name, value in call.parameters.items() if name != "weights"}
        codes = Constant(encode(weights.data), align=1, source=weights.source)
        scratch = -(-weights.nbytes // 8) * 8 + call.scratch
        parameters: dict[str, Value] = {"codes": codes, "size": weights.nbytes, "dense": fields}
        return replace(call, kernel=kernel, parameters=parameters, scratch=scratch)

    def cost(graph: Graph, operator: Operator) -> float:
        return dense.cost(graph, operator) + 400 + _decode(graph, operator) * graph.ins(operator)[1].size

    return Kernel(
        name=f"coded_{dense.name}",
        family=f"coded_{dense.family}",
        source=dense.source,
        accepts=accepts,
        lower=lower,
        cost=cost,
        requires=dense.requires,
        needs=("huffman.h", f"{dense.family}/{dense.source}", *dense.needs),
        uses_scratch=True,
        base=dense.name,
        counts_weights=True,
    )


KERNELS = (
    Kernel(
        name="coded_fully_connected_s8_ref",
        family="coded_fully_connected_s8",
        source="ref.c",
        accepts=_accepts_dense,
        lower=_lower_dense,
        cost=_cost_dense,
        needs=("common.h", "dot.h", "huffman.h"),
        counts_weights=True,
    ),
    _convolution(convolution.KERNELS, "conv2d_s8_ref"),
    _convolution(convolution_triples.KERNELS, "conv2d_s8_triples"),
    _convolution(convolution.KERNELS, "conv2d_s8_dsp"),
    # Biases and multipliers stand among the weights of these, and are coded with them.
    *(_convolution((kernel,), kernel.name) for kernel in (*convolution_blocks.KERNELS, *convolution_mve.KERNELS)),
)
