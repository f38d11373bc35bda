"""Kernels of layers whose input is rounded to int8 with a range that is taken at run time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from tinyopt.graph import Array, Graph, Operator, Tensor, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.catalogue.convolution import contiguous_patches, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import float_limits, interleave_words

_MOST_PRODUCTS = (2**31 - 1) // (255 * 128)
"""Products in a sum that cannot leave 32 bits."""
_ROUNDING = 26.0
"""Cycles for each input that is rounded, with a floating-point unit."""


def _is_convolution(graph: Graph, operator: Operator) -> bool:
    if not isinstance(operator.attributes, (ops.DynamicConv2d, ops.DynamicFullyConnected)):
        return False
    w = graph.ins(operator)[1]
    return w.size // w.shape[0] <= _MOST_PRODUCTS and all(t.is_constant for t in graph.ins(operator)[1:])


def _is_depthwise(graph: Graph, operator: Operator) -> bool:
    if not isinstance(operator.attributes, ops.DynamicDepthwiseConv2d):
        return False
    return all(t.is_constant for t in graph.ins(operator)[1:])


def _is_depthwise_dsp(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    return _is_depthwise(graph, operator) and isinstance(a, ops.DynamicDepthwiseConv2d) and a.layer.multiplier == 1


def _images(graph: Graph, operator: Operator) -> tuple[ops.Conv2d, Tensor, Tensor, Tensor]:
    """The layer as a convolution, its input, weights and output: a row of a fully connected layer is a 1x1 image."""
    a, (x, w), y = operator.attributes, graph.ins(operator)[:2], graph.outs(operator)[0]
    if isinstance(a, ops.DynamicConv2d):
        return a.layer, x, w, y
    assert isinstance(a, ops.DynamicFullyConnected)
    rows = math.prod(x.shape[:-1])
    return (
        ops.Conv2d(activation=a.layer.activation),
        replace(x, shape=(rows, 1, 1, x.shape[-1])),
        replace(w, shape=(w.shape[0], 1, 1, w.shape[1]), data=w.value.reshape(w.shape[0], 1, 1, -1), quantization=None),
        replace(y, shape=(rows, 1, 1, y.shape[-1])),
    )


def _scales(graph: Graph, operator: Operator) -> dict[str, Value]:
    """The fields ``scales``, ``per_channel`` and ``bias``; equal scales are stored once."""
    _, w, *bias = graph.ins(operator)
    assert w.quantization is not None
    scales = np.asarray(w.quantization.scales, np.float32)
    if (scales == scales[0]).all():
        scales = scales[:1]
    return {
        "scales": Constant(scales, weights=False),
        "bias": Constant(bias[0].value, source=bias[0].name) if bias else None,
        "per_channel": int(len(scales) > 1),
    }


def _is_contiguous(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    if not isinstance(a, ops.DynamicConv2d):
        return True
    return contiguous_patches(graph, replace(operator, attributes=a.layer))


def _in_place(batches: int) -> tuple[tuple[int, int], ...]:
    return ((0, 0),) if batches == 1 else ()


def _convolution(
    graph: Graph, operator: Operator, kernel: Kernel, weights: Array, patch: int, columns: int = 0
) -> Call:
    """``patch``: bytes of a patch of one group; ``columns``: of what a kernel makes of patches."""
    a = operator.attributes
    assert isinstance(a, ops.DynamicRange)
    layer, x, w, y = _images(graph, operator)
    totals = w.value.reshape(w.shape[0], -1).astype(np.int32).sum(axis=1, dtype=np.int32)
    contiguous = _is_contiguous(graph, operator)
    parameters: dict[str, Value] = {
        **_scales(graph, operator),
        "totals": Constant(totals, weights=False) if kernel.source == "ref.c" and not a.symmetric else None,
        "symmetric": int(a.symmetric),
        **float_limits(layer.activation),
        "window": MappingProxyType(
            {
                "weights": Constant(weights, source=w.name),
                **window_fields(layer, x, y, (w.shape[1], w.shape[2])),
                "output_channels": w.shape[0],
                "groups": layer.groups,
                "contiguous": int(contiguous),
            }
        ),
    }
    scratch = columns + math.prod(x.shape[1:]) + (0 if contiguous else patch)
    names = (operator.inputs[0],), (operator.outputs[0],)
    return Call(kernel, operator, parameters, *names, scratch, in_place=_in_place(x.shape[0]))


def _lower_ref(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    w = graph.ins(operator)[1]
    return _convolution(graph, operator, kernel, w.value, w.size // w.shape[0])


def _lower_dsp(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    layer, _, w, _ = _images(graph, operator)
    rows = w.value.reshape(layer.groups, w.shape[0] // layer.groups, -1)
    packed = np.concatenate([interleave_words(group, block=2) for group in rows])
    size = rows.shape[2]
    return _convolution(graph, operator, kernel, packed, size, columns=2 * 2 * (-(-size // 4) * 4))


def _lower_depthwise(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, (x, w), y = operator.attributes, graph.ins(operator)[:2], graph.outs(operator)[0]
    assert isinstance(a, ops.DynamicDepthwiseConv2d)
    parameters: dict[str, Value] = {
        "weights": Constant(w.value, source=w.name),
        **_scales(graph, operator),
        "symmetric": int(a.symmetric),
        **window_fields(a.layer, x, y, (w.shape[1], w.shape[2])),
        "multiplier": a.layer.multiplier,
        **float_limits(a.layer.activation),
    }
    scratch = math.prod(x.shape[1:])
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch, in_place=_in_place(x.shape[0]))


def _cost(per_mac: float, per_output: float) -> Callable[[Graph, Operator], float]:
    """Fitted on the emulated M4."""

    def cost(graph: Graph, operator: Operator) -> float:
        (x, w), y = graph.ins(operator)[:2], graph.outs(operator)[0]
        gathered = 0.0
        if isinstance(operator.attributes, ops.DynamicConv2d) and not _is_contiguous(graph, operator):
            gathered = (60 + 150.0 * w.shape[1]) * operator.attributes.layer.groups * y.size / y.shape[3]
        products = per_mac * operator_macs(graph, operator)
        return 300 + _ROUNDING * x.size + products + per_output * y.size + gathered

    return cost


KERNELS = (
    Kernel(
        name="dynamic_conv2d_f32_ref",
        family="dynamic_conv2d_f32",
        source="ref.c",
        accepts=_is_convolution,
        lower=_lower_ref,
        cost=_cost(8.0, 50.0),
        needs=("dynamic.h", "dot.h", "conv2d_s8/conv2d_s8.h"),
        uses_scratch=True,
    ),
    Kernel(
        name="dynamic_conv2d_f32_dsp",
        family="dynamic_conv2d_f32",
        source="dsp.c",
        accepts=_is_convolution,
        lower=_lower_dsp,
        cost=_cost(1.7, 40.0),
        requires=frozenset({"dsp"}),
        needs=("dynamic.h", "dsp.h", "conv2d_s8/conv2d_s8.h"),
        uses_scratch=True,
    ),
    Kernel(
        name="dynamic_depthwise_conv2d_f32_ref",
        family="dynamic_depthwise_conv2d_f32",
        source="ref.c",
        accepts=_is_depthwise,
        lower=_lower_depthwise,
        cost=_cost(20.0, 50.0),
        needs=("dynamic.h", "window.h"),
        uses_scratch=True,
    ),
    Kernel(
        name="dynamic_depthwise_conv2d_f32_dsp",
        family="dynamic_depthwise_conv2d_f32",
        source="dsp.c",
        accepts=_is_depthwise_dsp,
        lower=_lower_depthwise,
        cost=_cost(5.0, 50.0),
        requires=frozenset({"dsp"}),
        needs=("dynamic.h", "dsp.h", "window.h"),
        uses_scratch=True,
    ),
)
