"""The depthwise convolution of any window with the Arm DSP extension: line by line, in place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyopt.execute.integer.convolution import output_multipliers
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.plan.catalogue.convolution import is_int8, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import all_shift_right, bias_name, folded_bias, output_limits, requantization

_GROUP = 4
"""Outputs that are computed together."""


def _channel_major(weights: Array) -> Array:
    """[1,KH,KW,C] → [C,KH,KW]."""
    result: Array = weights[0].transpose(2, 0, 1)
    return result


def _accepts(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    if not isinstance(a, ops.DepthwiseConv2d) or a.multiplier != 1 or not is_int8(graph, operator):
        return False
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    sides = zip(a.stride, a.dilation, (a.padding.top, a.padding.left), ins[1].shape[1:3])
    if not all((d == 1 or s == 1) and pad <= (k - 1) * d for s, d, pad, k in sides):
        return False
    weights = _channel_major(ins[1].value).reshape(y.shape[3], -1)
    reach = np.abs(weights.astype(np.int64)).sum(axis=1) * 128 + np.abs(folded_bias(ins, weights).astype(np.int64))
    lines = _lines_of(graph, operator)
    if lines.line_words >= 1 << 14 or lines.kernel > 1 << 14:
        return False
    return int(reach.max()) < 1 << 30 and all_shift_right(*output_multipliers(ins[0], ins[1], y))


@dataclass(frozen=True)
class _Lines:
    """How the kernel goes over the image. Sizes are of the first phase of a dilated convolution, the largest."""

    turned: bool
    """Lines are columns."""
    phases: int
    lines: int
    """Of outputs."""
    outputs: int
    """Of a line."""
    kernel: int
    """Lines under a window."""
    words: int
    """Pairs of elements under a window, in each line."""
    line_words: int
    rows: int
    """Lines of inputs that are loaded."""

    @property
    def scratch(self) -> int:
        return 4 * self.kernel * (4 * self.words + self.line_words)


def _lines_of(graph: Graph, operator: Operator) -> _Lines:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    x, w = ins[0], ins[1]
    turned = x.shape[1] > x.shape[2] and y.shape[2] == x.shape[2]
    across, along = (1, 0) if turned else (0, 1)
    lines = -(-y.shape[1 + across] // a.dilation[across])
    outputs = -(-y.shape[1 + along] // a.dilation[along])
    stride, kernel = a.stride[along], w.shape[1 + across]
    words = max((w.shape[1 + along] + 1 + stride % 2) // 2, 2)
    return _Lines(
        turned=turned,
        phases=a.dilation[0] * a.dilation[1],
        lines=lines,
        outputs=outputs,
        kernel=kernel,
        words=words,
        line_words=-(-outputs // _GROUP) * 2 * stride + words,
        rows=min(lines * kernel, (lines - 1) * a.stride[across] + kernel),
    )


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    x, w = ins[0], ins[1]
    weights, lines = _channel_major(w.value), _lines_of(graph, operator)
    parameters: dict[str, Value] = {
        "weights": Constant(weights.swapaxes(1, 2) if lines.turned else weights, source=w.name),
        "bias": Constant(2 * folded_bias(ins, weights), source=bias_name(ins)),
        **requantization(*output_multipliers(x, w, y)),
        **window_fields(a, x, y, (w.shape[1], w.shape[2])),
        "multiplier": 1,
        "input_zero_point": x.zero_point,
        **output_limits(y, a.activation),
    }
    in_place = lines.phases == 1 and y.shape[1] <= x.shape[1] and y.shape[2] <= x.shape[2]
    return Call(kernel, operator, parameters, (x.name,), (y.name,), lines.scratch, ((0, 0),) if in_place else ())


def _cost(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M4: what a word of a window, a line of it, four outputs, a line and a channel cost."""
    a, x, p = operator.attributes, graph.ins(operator)[0], _lines_of(graph, operator)
    assert isinstance(a, ops.DepthwiseConv2d)
    along = 0 if p.turned else 1
    other = 11 + 10 * p.words if a.stride[along] == 1 else 10 + 18 * p.words
    row = {(1, 2): 22, (1, 3): 30, (2, 2): 24}.get((a.stride[along], p.words), other)
    line = -(-p.outputs // _GROUP) * (p.kernel * row + 80) + 115
    inputs = min(-(-x.shape[1 + along] // a.dilation[along]), 2 * p.line_words)
    per_channel = p.lines * line + p.rows * (4 * inputs + 60) + p.kernel * p.words * 25 + 150
    return float(p.phases * (x.shape[3] * per_channel + 200))


KERNELS = (
    Kernel(
        name="depthwise_conv2d_s8_dsp_lines",
        family="depthwise_conv2d_s8",
        source="dsp_lines.c",
        accepts=_accepts,
        lower=_lower,
        cost=_cost,
        requires=frozenset({"dsp"}),
        needs=("blocks_dsp.h", "common.h", "dsp.h", "window.h"),
        uses_scratch=True,
    ),
)
