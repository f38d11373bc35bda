"""Kernels of Conv2d, DepthwiseConv2d and TransposeConv2d on int8 tensors."""

from __future__ import annotations

import numpy as np

from tinyopt.execute.integer.convolution import output_multipliers
from tinyopt.graph import Array, DType, Graph, Operator, Tensor, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.kernel import Call, Constant, Kernel, Value, all_dtypes
from tinyopt.plan.packing import bias_name, folded_bias, interleave_words, model_bias, output_limits, requantization

Windowed = ops.Conv2d | ops.DepthwiseConv2d | ops.TransposeConv2d


def is_int8(graph: Graph, operator: Operator) -> bool:
    """int8 activations, constant int8 weights, constant int32 bias or none."""
    ins = graph.ins(operator)
    return all_dtypes(graph, operator, DType.INT8, inputs=(0, 1)) and all(t.is_constant for t in ins[1:])


def window_fields(a: Windowed | ops.XnorConv2d, x: Tensor, y: Tensor, kernel: tuple[int, int]) -> dict[str, Value]:
    """The fields that every kernel with a sliding window has."""
    return {
        "batches": x.shape[0],
        "input_height": x.shape[1],
        "input_width": x.shape[2],
        "input_channels": x.shape[3],
        "output_height": y.shape[1],
        "output_width": y.shape[2],
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_height": a.stride[0],
        "stride_width": a.stride[1],
        "dilation_height": a.dilation[0],
        "dilation_width": a.dilation[1],
        "pad_top": a.padding.top,
        "pad_left": a.padding.left,
    }


def contiguous_patches(graph: Graph, operator: Operator) -> bool:
    """Whether every patch of a convolution lies in the input as one unbroken run of elements: no window reaches into
    the padding, rows of taps are unbroken, and there is one row, or a row of taps is a whole row of the image."""
    a, x, w, y = operator.attributes, *graph.ins(operator)[:2], graph.outs(operator)[0]
    assert isinstance(a, ops.Conv2d)
    _, kernel_height, kernel_width, _ = w.shape
    last_row = (y.shape[1] - 1) * a.stride[0] + (kernel_height - 1) * a.dilation[0]
    last_column = (y.shape[2] - 1) * a.stride[1] + (kernel_width - 1) * a.dilation[1]
    inside = not (a.padding.top or a.padding.left) and last_row < x.shape[1] and last_column < x.shape[2]
    row_unbroken = kernel_width == 1 or a.dilation[1] == 1
    rows_joined = kernel_height == 1 or (kernel_width == x.shape[2] and a.dilation[0] == 1)
    return a.groups == 1 and inside and row_unbroken and rows_joined


def _lower_conv2d(graph: Graph, operator: Operator, kernel: Kernel, weights: Array, scratch: int) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.Conv2d)
    x, w = ins[0], ins[1]
    parameters: dict[str, Value] = {
        "weights": Constant(weights, source=w.name),
        "bias": Constant(folded_bias(ins, w.value), source=bias_name(ins)),
        **requantization(*output_multipliers(x, w, y)),
        **window_fields(a, x, y, (w.shape[1], w.shape[2])),
        "output_channels": w.shape[0],
        "groups": a.groups,
        "contiguous": int(contiguous_patches(graph, operator)),
        "input_zero_point": x.zero_point,
        **output_limits(y, a.activation),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch)


def _is_conv2d(graph: Graph, operator: Operator) -> bool:
    return isinstance(operator.attributes, ops.Conv2d) and is_int8(graph, operator)


def _lower_conv2d_ref(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    w = graph.ins(operator)[1]
    scratch = 0 if contiguous_patches(graph, operator) else int(np.prod(w.shape[1:]))
    return _lower_conv2d(graph, operator, kernel, w.value, scratch)


def _lower_conv2d_dsp(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, w = operator.attributes, graph.ins(operator)[1]
    assert isinstance(a, ops.Conv2d)
    rows = w.value.reshape(a.groups, w.shape[0] // a.groups, -1)
    packed = np.concatenate([interleave_words(group, block=2) for group in rows])
    patch = -(-rows.shape[2] // 4) * 4
    return _lower_conv2d(graph, operator, kernel, packed, 0 if contiguous_patches(graph, operator) else 2 * patch)


def _outputs(graph: Graph, operator: Operator) -> int:
    return graph.outs(operator)[0].size


def _cost_conv2d_ref(graph: Graph, operator: Operator) -> float:
    return 8.0 * operator_macs(graph, operator) + 60 * _outputs(graph, operator)


def _cost_conv2d_dsp(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M4. Depths that are no multiple of four work on zeros at the end of each row; gathering
    the patch of a pixel and group costs as much as many products."""
    a, w, y = operator.attributes, graph.ins(operator)[1], graph.outs(operator)[0]
    assert isinstance(a, ops.Conv2d)
    depth = w.size // w.shape[0]
    rows_joined = a.dilation[1] == 1 and a.groups == 1
    gather = 60 + w.shape[1] * (330 if rows_joined else 130 * w.shape[2])
    patches = a.groups * y.size / y.shape[3]
    products = 1.7 * operator_macs(graph, operator) * (-(-depth // 4) * 4) / depth
    return products + 35 * y.size + patches * (320 if contiguous_patches(graph, operator) else gather)


def _is_depthwise(graph: Graph, operator: Operator) -> bool:
    return isinstance(operator.attributes, ops.DepthwiseConv2d) and is_int8(graph, operator)


def _lower_depthwise(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.DepthwiseConv2d)
    x, w = ins[0], ins[1]
    parameters: dict[str, Value] = {
        "weights": Constant(w.value, source=w.name),
        "bias": Constant(model_bias(ins, w.shape[3]).astype(np.int32), source=bias_name(ins)),
        **requantization(*output_multipliers(x, w, y)),
        **window_fields(a, x, y, (w.shape[1], w.shape[2])),
        "multiplier": a.multiplier,
        "input_zero_point": x.zero_point,
        **output_limits(y, a.activation),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,))


def _cost_depthwise_ref(graph: Graph, operator: Operator) -> float:
    return 20.0 * operator_macs(graph, operator) + 60 * _outputs(graph, operator)


def _is_depthwise_dsp(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    return isinstance(a, ops.DepthwiseConv2d) and a.multiplier == 1 and is_int8(graph, operator)


def _cost_depthwise_dsp(graph: Graph, operator: Operator) -> float:
    channels = graph.outs(operator)[0].shape[3]
    per_mac = (3.8 * (channels // 4 * 4) + 9.0 * (channels % 4)) / channels
    return per_mac * operator_macs(graph, operator) + 40 * _outputs(graph, operator)


def _is_transpose(graph: Graph, operator: Operator) -> bool:
    return isinstance(operator.attributes, ops.TransposeConv2d) and is_int8(graph, operator)


def _lower_transpose(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.TransposeConv2d)
    x, w = ins[0], ins[1]
    parameters: dict[str, Value] = {
        "weights": Constant(w.value, source=w.name),
        "bias": Constant(model_bias(ins, w.shape[0]).astype(np.int32), source=bias_name(ins)),
        **requantization(*output_multipliers(x, w, y)),
        **window_fields(a, x, y, (w.shape[1], w.shape[2])),
        "output_channels": w.shape[0],
        "input_zero_point": x.zero_point,
        **output_limits(y, a.activation),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch=4 * w.shape[0])


def _cost_transpose_ref(graph: Graph, operator: Operator) -> float:
    return 7.0 * operator_macs(graph, operator) + 60 * _outputs(graph, operator)


KERNELS = (
    Kernel(
        name="conv2d_s8_ref",
        family="conv2d_s8",
        source="ref.c",
        accepts=_is_conv2d,
        lower=_lower_conv2d_ref,
        cost=_cost_conv2d_ref,
        needs=("common.h", "dot.h", "window.h"),
        uses_scratch=True,
    ),
    Kernel(
        name="conv2d_s8_dsp",
        family="conv2d_s8",
        source="dsp.c",
        accepts=_is_conv2d,
        lower=_lower_conv2d_dsp,
        cost=_cost_conv2d_dsp,
        requires=frozenset({"dsp"}),
        needs=("common.h", "dsp.h", "window.h"),
        uses_scratch=True,
    ),
    Kernel(
        name="depthwise_conv2d_s8_ref",
        family="depthwise_conv2d_s8",
        source="ref.c",
        accepts=_is_depthwise,
        lower=_lower_depthwise,
        cost=_cost_depthwise_ref,
        needs=("common.h", "window.h"),
    ),
    Kernel(
        name="depthwise_conv2d_s8_dsp",
        family="depthwise_conv2d_s8",
        source="dsp.c",
        accepts=_is_depthwise_dsp,
        lower=_lower_depthwise,
        cost=_cost_depthwise_dsp,
        requires=frozenset({"dsp"}),
        needs=("common.h", "dsp.h", "window.h"),
    ),
    Kernel(
        name="transpose_conv2d_s8_ref",
        family="transpose_conv2d_s8",
        source="ref.c",
        accepts=_is_transpose,
        lower=_lower_transpose,
        cost=_cost_transpose_ref,
        needs=("common.h", "window.h"),
        uses_scratch=True,
    ),
)
