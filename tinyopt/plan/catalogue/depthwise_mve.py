"""Depthwise convolution with Helium (MVE): eight channels at a time, or 3x3 in pieces of two by two outputs."""

from __future__ import annotations

import numpy as np

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.execute.integer.convolution import output_multipliers
from tinyopt.graph import Array, Graph, Operator, Tensor, ops
from tinyopt.plan.blocks_mve import requantization_lanes
from tinyopt.plan.catalogue.convolution import is_int8, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import all_shift_right, bias_name, folded_bias, none_shift_left, output_limits, requantization

_LANES = 8


def _accepts(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    if not isinstance(a, ops.DepthwiseConv2d) or a.multiplier != 1 or not is_int8(graph, operator):
        return False
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    scale = output_multipliers(ins[0], ins[1], y)
    # What rounds ties away from zero makes negative values smaller, which the clamp undoes where nothing is shifted.
    clamped = clamp_limits(a.activation, y)[0] >= y.zero_point
    return none_shift_left(*scale) if clamped else all_shift_right(*scale)


def _accepts_3x3(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    if not isinstance(a, ops.DepthwiseConv2d) or not _accepts(graph, operator):
        return False
    square = graph.ins(operator)[1].shape[1:3] == (3, 3) and a.dilation == (1, 1)
    return square and a.stride in ((1, 1), (2, 2)) and max(a.padding.top, a.padding.left) <= 2


def _channel_major(weights: Array) -> Array:
    """[1,KH,KW,C] → [C,KH,KW]."""
    result: Array = weights[0].transpose(2, 0, 1)
    return result


def _fields(graph: Graph, operator: Operator) -> dict[str, Value]:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    return {
        **window_fields(a, ins[0], y, (ins[1].shape[1], ins[1].shape[2])),
        "multiplier": 1,
        "input_zero_point": ins[0].zero_point,
        **output_limits(y, a.activation),
    }


def _pack_eights(weights: Array, bias: Array, multipliers: Array, shifts: Array) -> Array:
    """The stream of ``depthwise_conv2d_s8/mve.c``. ``weights``: [channels, taps]."""
    channels, taps = weights.shape
    blocks = -(-channels // _LANES)
    padded = np.zeros((blocks * _LANES, taps), np.int8)
    padded[:channels] = weights
    numbers = np.zeros((3, blocks * _LANES), np.int32)
    for target, values in zip(numbers, (bias, multipliers, shifts)):
        target[:channels] = values
    # Even channels of a block first, so that four lanes follow each other.
    numbers = numbers.reshape(3, blocks, _LANES // 2, 2).swapaxes(2, 3).reshape(3, -1)
    tails = requantization_lanes(*numbers).astype("<i4").view(np.int8).reshape(blocks, -1)
    products = padded.reshape(blocks, _LANES, taps).swapaxes(1, 2).reshape(blocks, -1)
    result: Array = np.concatenate([tails, products], axis=1).reshape(-1)
    return result


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    x, w = ins[0], ins[1]
    weights = _channel_major(w.value)
    flat = weights.reshape(len(weights), -1)
    stream = _pack_eights(flat, folded_bias(ins, weights), *output_multipliers(x, w, y))
    parameters: dict[str, Value] = {"weights": Constant(stream, source=w.name), **_fields(graph, operator)}
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch=flat.size)


def _turned(x: Tensor, y: Tensor) -> bool:
    return x.shape[1] > x.shape[2] and y.shape[2] == x.shape[2]


def _outputs(x: Tensor, y: Tensor) -> tuple[int, int]:
    """Lines of outputs, and outputs of a line."""
    return (y.shape[2], y.shape[1]) if _turned(x, y) else (y.shape[1], y.shape[2])


def _positions(outputs: int, stride: int) -> int:
    return (outputs + 1) // 2 * 2 + 2 if stride == 1 else (outputs + 3) // 4 * 8 + 2


def _lower_3x3(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    x, w = ins[0], ins[1]
    weights = _channel_major(w.value)
    by_position = weights if _turned(x, y) else weights.swapaxes(1, 2)
    packed = np.zeros((len(weights) * 4 + 1, 4), np.int8)
    packed[:-1].reshape(-1, 4, 4)[:, 1:, :3] = by_position
    parameters: dict[str, Value] = {
        "weights": Constant(packed, source=w.name),
        "bias": Constant(folded_bias(ins, weights), source=bias_name(ins)),
        **requantization(*_with_all_shift_right(*output_multipliers(x, w, y))),
        **_fields(graph, operator),
    }
    in_place = ((0, 0),) if y.shape[1] <= x.shape[1] and y.shape[2] <= x.shape[2] else ()
    scratch = 4 * _positions(_outputs(x, y)[1], a.stride[0])
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch, in_place)


def _with_all_shift_right(multipliers: Array, shifts: Array) -> tuple[Array, Array]:
    """Where the multiplier is 0, a shift to the right too."""
    return multipliers, np.where(multipliers == 0, -1, shifts)


def _cost(graph: Graph, operator: Operator) -> float:
    w, y = graph.ins(operator)[1], graph.outs(operator)[0]
    taps, pixels = w.shape[1] * w.shape[2], y.size // y.shape[3]
    blocks = -(-y.shape[3] // _LANES)
    border = 0.3 * (3 * taps * (-(-y.shape[3] // 16)) + 20 * taps)
    return pixels * (blocks * (9 * taps + 5 * w.shape[1] + 45) + 30 + border)


def _cost_3x3(graph: Graph, operator: Operator) -> float:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    lines, outputs = _outputs(x, y)
    vectors = (_positions(outputs, a.stride[0]) + 3) // 4
    if a.stride[0] == 1:
        per_channel = (lines + 1) // 2 * ((outputs + 1) // 2 * 20 + 10 * vectors + 70)
    else:
        per_channel = lines * ((outputs + 3) // 4 * 24 + 10 * vectors + 60)
    return float(x.shape[3] * (per_channel + 10 * vectors + 70))


_FEATURES = frozenset({"mve"})
_NEEDS = ("common.h", "mve.h", "window.h")

KERNELS = (
    Kernel(
        name="depthwise_conv2d_s8_mve",
        family="depthwise_conv2d_s8",
        source="mve.c",
        accepts=_accepts,
        lower=_lower,
        cost=_cost,
        requires=_FEATURES,
        needs=_NEEDS,
        uses_scratch=True,
    ),
    Kernel(
        name="depthwise_conv2d_s8_mve_3x3",
        family="depthwise_conv2d_s8",
        source="mve_3x3.c",
        accepts=_accepts_3x3,
        lower=_lower_3x3,
        cost=_cost_3x3,
        requires=_FEATURES,
        needs=_NEEDS,
        uses_scratch=True,
    ),
)
