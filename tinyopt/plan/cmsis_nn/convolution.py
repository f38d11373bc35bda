"""arm_convolve_wrapper_s8 and arm_depthwise_conv_wrapper_s8.

The wrappers choose among several functions by shape, differently on every core; the shapes that one of these does not
compute as the contract says are not accepted:

- groups: before release 7.0.0 there are none (``arm_convolve_s8`` has no ``upscale_dims`` there);
- 1 x 1: the functions for them know nothing of padding below and to the right, so every output must have an input;
- without Helium, depthwise 3 x 3: the function for them reads the middle column of every window without a look at where
  the image ends, so every middle column must lie in it;
- on Helium, rows of one line (1 x N): the function for them fails unless the padding is split as TensorFlow's SAME
  splits it.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.execute.integer.convolution import output_multipliers
from tinyopt.graph import DType, Graph, Operator, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.catalogue.convolution import is_int8
from tinyopt.plan.cmsis_nn.target import Target, corner, dims, image, limits, scales, tile
from tinyopt.plan.kernel import Call, Constant, Kernel, Value, all_dtypes
from tinyopt.plan.packing import bias_name, model_bias

_CONVOLVE = "arm_convolve_wrapper_s8"
_DEPTHWISE = "arm_depthwise_conv_wrapper_s8"
_SUFFIX = "_get_buffer_size"
_LARGEST = 65535
"""Extents travel in 16 bits."""

# Cycles, fitted to the layers of the synthetic benchmark on emulated Cortex-M0, M4 and M55.
_POINTWISE = {"c": (9.6, 109.0, 146.0), "dsp": (1.9, 34.0, 135.0), "mve": (0.22, 18.0, 15.0)}
"""For each product, output and pixel."""
_PATCHES = {"c": (8.1, 159.0, 28.0, 69.0), "dsp": (1.69, 69.0, 8.4, 67.0), "mve": (0.19, 20.0, 0.0, 26.0)}
"""For each product, output, element copied into a patch, and tap of a patch."""
_DEPTHWISE_COSTS = {
    "c": ((40.0, 100.0), (35.0, 437.0), (89.0, 0.0)),
    "dsp": ((6.7, 20.0), (13.4, 55.0), (41.0, 0.0)),
    "mve": ((3.0, 6.0), (2.95, 13.0), (32.0, 0.0)),
}
"""For each product and output: 3 x 3; any other window; with a multiplier or dilation."""


def kernels(target: Target) -> tuple[Kernel, ...]:
    """The convolutions of a library."""
    return (
        *target.kernel(
            "conv2d",
            "conv2d",
            "adapter.c",
            (_CONVOLVE, _CONVOLVE + _SUFFIX),
            partial(_accepts_conv2d, target),
            partial(_lower_conv2d, target),
            partial(_cost_conv2d, target),
            uses_scratch=True,
        ),
        *target.kernel(
            "depthwise_conv2d",
            "depthwise_conv2d",
            "adapter.c",
            (_DEPTHWISE, _DEPTHWISE + _SUFFIX),
            partial(_accepts_depthwise, target),
            partial(_lower_depthwise, target),
            partial(_cost_depthwise, target),
            uses_scratch=True,
        ),
    )


def _accepts(graph: Graph, operator: Operator) -> bool:
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    return (
        is_int8(graph, operator)
        and all_dtypes(graph, operator, DType.INT8, inputs=(0, 1))
        and not x.is_constant
        and x.shape[0] == 1
        and max(*x.shape, *y.shape) <= _LARGEST
    )


def _accepts_conv2d(target: Target, graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    if not isinstance(a, ops.Conv2d) or not _accepts(graph, operator):
        return False
    has_groups = len(target.library.declared.get("arm_convolve_s8", ())) == 12
    if a.groups > 1 and not has_groups:
        return False
    if _is_1x1(graph, operator):
        return _every_output_has_an_input(graph, operator)
    return target.core != "mve" or not _is_line(graph, operator) or _line_is_split(graph, operator)


def _is_1x1(graph: Graph, operator: Operator) -> bool:
    """Whether the wrapper takes one of the functions for 1 x 1 convolutions."""
    a, w = operator.attributes, graph.ins(operator)[1]
    assert isinstance(a, ops.Conv2d)
    return w.shape[1:3] == (1, 1) and corner(a.padding) == (0, 0) and a.dilation == (1, 1)


def _every_output_has_an_input(graph: Graph, operator: Operator) -> bool:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.Conv2d)
    return (y.shape[1] - 1) * a.stride[0] < x.shape[1] and (y.shape[2] - 1) * a.stride[1] < x.shape[2]


def _is_line(graph: Graph, operator: Operator) -> bool:
    """Whether the wrapper of any release takes this for a 1 x N convolution."""
    a, (x, w) = operator.attributes, graph.ins(operator)[:2]
    assert isinstance(a, ops.Conv2d)
    return x.shape[1] == 1 and w.shape[1] == 1 and a.dilation[1] == 1 and (w.shape[2] > 1 or a.padding.any)


def _line_is_split(graph: Graph, operator: Operator) -> bool:
    """Whether the padding of a line is what ``arm_convolve_1_x_n_s8`` expects on Helium: half on each side, the odd
    column behind, and no column of the input left over."""
    a, (x, w), y = operator.attributes, graph.ins(operator)[:2], graph.outs(operator)[0]
    assert isinstance(a, ops.Conv2d)
    total = (y.shape[2] - 1) * a.stride[1] + w.shape[2] - x.shape[2]
    return total >= 0 and a.padding.left == total // 2


def _shared(graph: Graph, operator: Operator, filter_dims: tuple[int, int, int, int]) -> dict[str, Value]:
    """The fields of both adapters, apart from ``params`` and the scratch."""
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    x, w = ins[0], ins[1]
    return {
        "input": dims(*image(x)),
        "filter": dims(*filter_dims),
        "bias": dims(1, 1, 1, y.shape[3]),
        "output": dims(*image(y)),
        "weights": Constant(w.value, source=w.name),
        "bias_data": Constant(model_bias(ins, y.shape[3]).astype(np.int32), source=bias_name(ins)),
        **scales(*output_multipliers(x, w, y), y.shape[3]),
    }


def _call(
    target: Target,
    graph: Graph,
    operator: Operator,
    kernel: Kernel,
    filter_dims: tuple[int, int, int, int],
    multiplier: int | None,
) -> Call:
    """``multiplier``: outputs per input channel of a depthwise convolution, None for the other one."""
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, (ops.Conv2d, ops.DepthwiseConv2d))
    low, high = clamp_limits(a.activation, y)
    params: dict[str, Value] = {
        "input_offset": -x.zero_point,
        "output_offset": y.zero_point,
        **({} if multiplier is None else {"ch_mult": multiplier}),
        "stride": tile(a.stride),
        "padding": tile(corner(a.padding)),
        "dilation": tile(a.dilation),
        "activation": limits(low, high),
    }
    numbers = [-x.zero_point, y.zero_point, *([] if multiplier is None else [multiplier])]
    for height, width in (a.stride, corner(a.padding), a.dilation):
        numbers += [width, height]
    numbers += [low, high, *image(x), *filter_dims, *image(y)]
    size = target.size(kernel.functions[1], *numbers)
    fields = {"params": params, **_shared(graph, operator, filter_dims), "scratch_bytes": size}
    return Call(kernel, operator, fields, (x.name,), (y.name,), size)


def _lower_conv2d(target: Target, graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    outputs, height, width, depth = image(graph.ins(operator)[1])
    return _call(target, graph, operator, kernel, (outputs, height, width, depth), None)


def _accepts_depthwise(target: Target, graph: Graph, operator: Operator) -> bool:
    if not isinstance(operator.attributes, ops.DepthwiseConv2d) or not _accepts(graph, operator):
        return False
    return target.core == "mve" or not _is_3x3(graph, operator) or _middle_is_inside(graph, operator)


def _is_3x3(graph: Graph, operator: Operator) -> bool:
    """Whether the wrapper takes ``arm_depthwise_conv_3x3_s8``."""
    a, w = operator.attributes, graph.ins(operator)[1]
    assert isinstance(a, ops.DepthwiseConv2d)
    narrow = a.padding.top <= 1 and a.padding.left <= 1
    return w.shape[1:3] == (3, 3) and a.multiplier == 1 and a.dilation == (1, 1) and narrow


def _middle_is_inside(graph: Graph, operator: Operator) -> bool:
    """Whether the middle column of every window of three lies in the image."""
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    return (y.shape[2] - 1) * a.stride[1] - a.padding.left + 1 < x.shape[2]


def _lower_depthwise(target: Target, graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a = operator.attributes
    assert isinstance(a, ops.DepthwiseConv2d)
    return _call(target, graph, operator, kernel, image(graph.ins(operator)[1]), a.multiplier)


def _cost_conv2d(target: Target, graph: Graph, operator: Operator) -> float:
    a, w, y = operator.attributes, graph.ins(operator)[1], graph.outs(operator)[0]
    assert isinstance(a, ops.Conv2d)
    outputs, height, width, depth = image(w)
    pixels = y.size / outputs
    macs = operator_macs(graph, operator)
    if _is_1x1(graph, operator):
        per_mac, per_output, per_pixel = _POINTWISE[target.core]
        return per_mac * macs + per_output * y.size + per_pixel * pixels
    per_mac, per_output, per_copy, per_tap = _PATCHES[target.core]
    taps = pixels * a.groups * height * width
    return per_mac * macs + per_output * y.size + (per_copy * depth + per_tap) * taps


def _cost_depthwise(target: Target, graph: Graph, operator: Operator) -> float:
    a = operator.attributes
    assert isinstance(a, ops.DepthwiseConv2d)
    costs = _DEPTHWISE_COSTS[target.core]
    if a.multiplier > 1 or a.dilation != (1, 1):
        per_mac, per_output = costs[2]
    else:
        per_mac, per_output = costs[0 if _is_3x3(graph, operator) else 1]
    return per_mac * operator_macs(graph, operator) + per_output * graph.outs(operator)[0].size
