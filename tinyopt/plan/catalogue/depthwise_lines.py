"""The 3x3 depthwise convolution for cores without SIMD: plane by plane, in place."""

from __future__ import annotations

from tinyopt.execute.integer.convolution import output_multipliers
from tinyopt.graph import Array, Graph, Operator, Tensor, ops
from tinyopt.plan.catalogue.convolution import is_int8, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import bias_name, folded_bias, is_narrow, output_limits, requantization, right_shifts


def _channel_major(weights: Array) -> Array:
    """[1,3,3,C] → [C,3,3]."""
    result: Array = weights[0].transpose(2, 0, 1)
    return result


def _accepts(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    if not isinstance(a, ops.DepthwiseConv2d) or a.multiplier != 1 or not is_int8(graph, operator):
        return False
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    shaped = ins[1].shape[1:3] == (3, 3) and a.dilation == (1, 1)
    if not shaped or max(a.stride) > 2 or max(a.padding.top, a.padding.left) > 2:
        return False
    weights = _channel_major(ins[1].value)
    return is_narrow(weights, folded_bias(ins, weights), *output_multipliers(ins[0], ins[1], y))


def _is_turned(x: Tensor, y: Tensor) -> bool:
    return x.shape[1] > x.shape[2] and y.shape[2] == x.shape[2]


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    x, w = ins[0], ins[1]
    weights = _channel_major(w.value)
    bias = folded_bias(ins, weights)
    turned = _is_turned(x, y)
    multipliers, shifts = output_multipliers(x, w, y)
    parameters: dict[str, Value] = {
        "weights": Constant(weights.swapaxes(1, 2) if turned else weights, source=w.name),
        "bias": Constant(bias, source=bias_name(ins)),
        **requantization(multipliers, right_shifts(multipliers, shifts)),
        **window_fields(a, x, y, (3, 3)),
        "multiplier": 1,
        "input_zero_point": x.zero_point,
        **output_limits(y, a.activation),
    }
    outputs, stride = (y.shape[1], a.stride[0]) if turned else (y.shape[2], a.stride[1])
    scratch = 4 * outputs + 12 * ((outputs - 1) * stride + 3)
    in_place = ((0, 0),) if y.shape[1] <= x.shape[1] and y.shape[2] <= x.shape[2] else ()
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch, in_place)


def _cost(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M0: outputs, elements loaded, and what a line and a channel cost."""
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    lines, inputs = (y.shape[2], x.shape[2]) if _is_turned(x, y) else (y.shape[1], x.shape[1])
    return float(92 * y.size + 10 * x.size + x.shape[3] * (250 * lines + 60 * inputs + 300))


KERNELS = (
    Kernel(
        name="depthwise_conv2d_s8_lines_3x3",
        family="depthwise_conv2d_s8",
        source="lines_3x3.c",
        accepts=_accepts,
        lower=_lower,
        cost=_cost,
        needs=("common.h", "narrow.h", "window.h"),
        uses_scratch=True,
    ),
)
