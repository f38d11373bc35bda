"""The 3x3 depthwise convolution of the Arm DSP extension: plane by plane, in place."""

from __future__ import annotations

import numpy as np

from tinyopt.execute.integer.convolution import output_multipliers
from tinyopt.graph import Array, Graph, Operator, Tensor, ops
from tinyopt.plan.catalogue.convolution import is_int8, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import all_shift_right, bias_name, folded_bias, output_limits, requantization


def _channel_major(weights: Array) -> Array:
    """[1,3,3,C] → [C,3,3]."""
    result: Array = weights[0].transpose(2, 0, 1)
    return result


def _accepts(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    if not isinstance(a, ops.DepthwiseConv2d) or a.multiplier != 1 or not is_int8(graph, operator):
        return False
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    p = a.padding
    if (
        ins[1].shape[1:3] != (3, 3)
        or a.dilation != (1, 1)
        or a.stride not in ((1, 1), (2, 2))
        or max(p.top, p.left) > 2
    ):
        return False
    weights = _channel_major(ins[1].value).reshape(y.shape[3], 9)
    reach = np.abs(weights.astype(np.int64)).sum(axis=1) * 128 + np.abs(folded_bias(ins, weights).astype(np.int64))
    multipliers, shifts = output_multipliers(ins[0], ins[1], y)
    return int(reach.max()) < 1 << 30 and all_shift_right(multipliers, shifts)


def _turned(x: Tensor, y: Tensor) -> bool:
    return x.shape[1] > x.shape[2] and y.shape[2] == x.shape[2]


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    x, w = ins[0], ins[1]
    weights = _channel_major(w.value)
    bias = folded_bias(ins, weights)
    turned = _turned(x, y)
    if turned:
        weights = weights.swapaxes(1, 2)
    parameters: dict[str, Value] = {
        "weights": Constant(weights, source=w.name),
        "bias": Constant(bias, source=bias_name(ins)),
        **requantization(*output_multipliers(x, w, y)),
        **window_fields(a, x, y, (3, 3)),
        "multiplier": 1,
        "input_zero_point": x.zero_point,
        **output_limits(y, a.activation),
    }
    outputs = y.shape[1] if turned else y.shape[2]
    scratch = 12 * ((outputs + 1) // 2 * a.stride[0] + 1)
    in_place = ((0, 0),) if y.shape[1] <= x.shape[1] and y.shape[2] <= x.shape[2] else ()
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch, in_place)


def _cost(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M4: pairs of outputs, elements loaded, and what a line and a channel cost."""
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    outputs, lines, inputs = y.shape[2], y.shape[1], x.shape[1]
    if _turned(x, y):
        outputs, lines, inputs = y.shape[1], y.shape[2], x.shape[2]
    pair = 52 if a.stride[0] == 1 else 58
    per_plane = lines * (outputs + 1) // 2 * pair + 4.5 * x.size / x.shape[3] + 90 * lines + 40 * inputs + 150
    return float(x.shape[3] * per_plane)


KERNELS = (
    Kernel(
        name="depthwise_conv2d_s8_dsp_3x3",
        family="depthwise_conv2d_s8",
        source="dsp_3x3.c",
        accepts=_accepts,
        lower=_lower,
        cost=_cost,
        requires=frozenset({"dsp"}),
        needs=("blocks_dsp.h", "common.h", "dsp.h", "window.h"),
        uses_scratch=True,
    ),
)
