"""The 3x3 depthwise convolutions of the Arm DSP extension: plane by plane, in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.execute.integer.convolution import output_multipliers
from tinyopt.graph import Array, Graph, Operator, Tensor, ops
from tinyopt.plan.catalogue.convolution import is_int8, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import all_shift_right, bias_name, folded_bias, output_limits, requantization
from tinyopt.plan.single_rounding import SingleRounding, single_rounding

_GROUP = 4
"""Channels that are widened together, and outputs that are computed together."""


_LINES, _KEPT_FROM = 8, 6
"""Lines of a strip, and the first of those that are kept for the next."""


def _pairs(outputs: int, attributes: ops.DepthwiseConv2d) -> int:
    """Pairs of elements of a line, for outputs in whole groups."""
    return -(-outputs // _GROUP) * 2 * attributes.stride[0] + 1


def _channel_major(weights: Array) -> Array:
    """[1,3,3,C] → [C,3,3]."""
    result: Array = weights[0].transpose(2, 0, 1)
    return result


def _fits(graph: Graph, operator: Operator, stride: int) -> bool:
    a = operator.attributes
    if not isinstance(a, ops.DepthwiseConv2d) or a.multiplier != 1 or not is_int8(graph, operator):
        return False
    w, p = graph.ins(operator)[1], a.padding
    shaped = w.shape[1:3] == (3, 3) and w.shape[3] >= _GROUP and a.dilation == (1, 1)
    return shaped and a.stride == (stride, stride) and max(p.top, p.left) <= 2


def _accepts(stride: int) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        if not _fits(graph, operator, stride):
            return False
        ins, y = graph.ins(operator), graph.outs(operator)[0]
        weights = _channel_major(ins[1].value).reshape(y.shape[3], 9)
        reach = np.abs(weights.astype(np.int64)).sum(axis=1) * 128 + np.abs(folded_bias(ins, weights).astype(np.int64))
        return int(reach.max()) < 1 << 30 and all_shift_right(*output_multipliers(ins[0], ins[1], y))

    return accepts


def _single(graph: Graph, operator: Operator) -> SingleRounding | None:
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    a = operator.attributes
    assert isinstance(a, ops.DepthwiseConv2d)
    weights = _channel_major(ins[1].value)
    multipliers, shifts = output_multipliers(ins[0], ins[1], y)
    low = clamp_limits(a.activation, y)[0]
    return single_rounding(weights, folded_bias(ins, weights), multipliers, shifts, y.zero_point, low)


def _accepts_relu(stride: int) -> Callable[[Graph, Operator], bool]:
    return lambda graph, operator: _fits(graph, operator, stride) and _single(graph, operator) is not None


def _turned(x: Tensor, y: Tensor) -> bool:
    return x.shape[1] > x.shape[2] and y.shape[2] == x.shape[2]


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    x, w = ins[0], ins[1]
    weights = _channel_major(w.value)
    bias = folded_bias(ins, weights)
    turned = _turned(x, y)
    bias, scale = 2 * bias, output_multipliers(x, w, y)
    if "relu" in kernel.name:
        single = _single(graph, operator)
        assert single is not None
        bias, scale = single.bias.astype(np.int32), (single.multipliers, single.scales)
    parameters: dict[str, Value] = {
        "weights": Constant(weights.swapaxes(1, 2) if turned else weights, source=w.name),
        "bias": Constant(bias, source=bias_name(ins)),
        **requantization(*scale),
        **window_fields(a, x, y, (3, 3)),
        "multiplier": 1,
        "input_zero_point": x.zero_point,
        **output_limits(y, a.activation),
    }
    outputs = y.shape[1] if turned else y.shape[2]
    scratch = 16 * _LINES * _pairs(outputs, a)
    in_place = ((0, 0),) if y.shape[1] <= x.shape[1] and y.shape[2] <= x.shape[2] else ()
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch, in_place)


def _cost(block: int) -> Callable[[Graph, Operator], float]:
    """Counted on the emulated M4: blocks of four outputs, elements loaded, what a line, a strip and a channel cost."""

    def cost(graph: Graph, operator: Operator) -> float:
        a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
        assert isinstance(a, ops.DepthwiseConv2d)
        outputs, lines, inputs = y.shape[2], y.shape[1], x.shape[1]
        if _turned(x, y):
            outputs, lines, inputs = y.shape[1], y.shape[2], x.shape[2]
        blocks, strips = -(-outputs // _GROUP), -(-lines * a.stride[0] // _KEPT_FROM)
        per_line = blocks * block + 27
        per_strip = 60 + (7 * _pairs(outputs, a) if strips > 1 else 0)
        per_plane = lines * per_line + inputs * 25 + 2.4 * x.size / x.shape[3] + strips * per_strip + 70
        return float(x.shape[3] * per_plane)

    return cost


def _kernels() -> Iterator[Kernel]:
    for stride, ending, block in ((1, "", 67), (2, "_stride_2", 77)):
        for name, accepts, more in (("", _accepts(stride), 14), ("_relu", _accepts_relu(stride), 0)):
            yield Kernel(
                name=f"depthwise_conv2d_s8_dsp_3x3{name}{ending}",
                family="depthwise_conv2d_s8",
                source="dsp_3x3.c",
                accepts=accepts,
                lower=_lower,
                cost=_cost(block + more),
                requires=frozenset({"dsp"}),
                needs=("blocks_dsp.h", "common.h", "dsp.h", "window.h"),
                uses_scratch=True,
            )


KERNELS = tuple(_kernels())
