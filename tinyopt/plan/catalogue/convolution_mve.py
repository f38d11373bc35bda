"""Convolution with Helium (MVE): two pixels by four output channels at a time."""

from __future__ import annotations

from dataclasses import replace

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.execute.integer.convolution import output_multipliers
from tinyopt.graph import Graph, Operator, ops
from tinyopt.plan.blocks_mve import VECTOR, pack_vectors, padded_to_vectors
from tinyopt.plan.catalogue.convolution import contiguous_patches, is_int8, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.overlap import convolution_lag
from tinyopt.plan.packing import all_shift_right, folded_bias, none_shift_left, output_limits

_PIXELS = 2
"""Pixels of a block."""


def _accepts(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    if not isinstance(a, ops.Conv2d) or a.groups != 1 or not is_int8(graph, operator):
        return False
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    scale = output_multipliers(ins[0], ins[1], y)
    # What rounds ties away from zero makes negative values smaller, which the clamp undoes where nothing is shifted.
    clamped = clamp_limits(a.activation, y)[0] >= y.zero_point
    return none_shift_left(*scale) if clamped else all_shift_right(*scale)


def _accepts_rows(graph: Graph, operator: Operator) -> bool:
    return _accepts(graph, operator) and _attributes(operator).dilation[1] == 1


def _attributes(operator: Operator) -> ops.Conv2d:
    assert isinstance(operator.attributes, ops.Conv2d)
    return operator.attributes


def _lower(graph: Graph, operator: Operator, kernel: Kernel, runs: int) -> Call:
    a, ins, y = _attributes(operator), graph.ins(operator), graph.outs(operator)[0]
    x, w = ins[0], ins[1]
    weights = w.value.reshape(w.shape[0], runs, -1)
    stream = pack_vectors(weights, folded_bias(ins, w.value), *output_multipliers(x, w, y))
    parameters: dict[str, Value] = {
        "weights": Constant(stream, source=w.name),
        **window_fields(a, x, y, (w.shape[1], w.shape[2])),
        "output_channels": w.shape[0],
        "groups": 1,
        "contiguous": int(contiguous_patches(graph, operator)),
        "input_zero_point": x.zero_point,
        **output_limits(y, a.activation),
    }
    scratch = 2 * runs * padded_to_vectors(weights.shape[2])
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch)


def _lower_patches(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, (x, w), y = _attributes(operator), graph.ins(operator)[:2], graph.outs(operator)[0]
    call = _lower(graph, operator, kernel, 1)
    # Two pixels are copied before any of their outputs is written; they lie in the same place, or before it.
    pointwise = w.shape[1:3] == (1, 1) and a.stride == (1, 1) and contiguous_patches(graph, operator)
    in_place = ((0, 0),) if pointwise and w.shape[0] <= w.shape[3] else ()
    overlaps = ((0, 0, convolution_lag(x, y, a, _PIXELS)),) if x.shape[0] == 1 else ()
    return replace(call, in_place=in_place, overlaps=overlaps)


def _lower_rows(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    (x, w), y = graph.ins(operator)[:2], graph.outs(operator)[0]
    call = _lower(graph, operator, kernel, w.shape[1])
    if x.shape[0] > 1:
        return call
    # Both pixels are read again for every four channels, after their first outputs were written.
    lag = convolution_lag(x, y, _attributes(operator), _PIXELS) + _PIXELS * y.shape[3]
    return replace(call, overlaps=((0, 0, lag),))


def _blocks(graph: Graph, operator: Operator, vectors: int) -> float:
    """Two pixels, all channels: the taps, the tail of every four channels, and the call."""
    channels = -(-graph.outs(operator)[0].shape[3] // 4)
    return channels * (16 * vectors + 42) + 45


def _cost_patches(graph: Graph, operator: Operator) -> float:
    w, y = graph.ins(operator)[1], graph.outs(operator)[0]
    taps = w.size // w.shape[0]
    copied = 1 if contiguous_patches(graph, operator) else w.shape[1]
    per_pixel = copied * 14 + 3 * taps / VECTOR + (10 if copied == 1 else 35)
    pixels = y.size / y.shape[3]
    return pixels * (per_pixel + _blocks(graph, operator, padded_to_vectors(taps) // VECTOR) / 2)


def _cost_rows(graph: Graph, operator: Operator) -> float:
    a, w, y = _attributes(operator), graph.ins(operator)[1], graph.outs(operator)[0]
    vectors = w.shape[1] * padded_to_vectors(w.shape[2] * w.shape[3]) // VECTOR
    padded = bool(a.padding.top or a.padding.bottom), bool(a.padding.left or a.padding.right)
    pairs = y.shape[0] * y.shape[1] * -(-y.shape[2] // 2)
    edge = min(1.0, padded[0] * 2 / y.shape[1] + padded[1] * 2 / max(1, y.shape[2] // 2))
    per_edge = 2 * w.shape[1] * 30 + 12 * vectors
    return pairs * (40 + 6 * w.shape[1] + edge * per_edge + _blocks(graph, operator, vectors))


_FEATURES = frozenset({"mve"})
_NEEDS = ("blocks_mve.c", "blocks_mve.h", "common.h", "mve.h", "window.h")

KERNELS = (
    Kernel(
        name="conv2d_s8_mve",
        family="conv2d_s8",
        source="mve.c",
        accepts=_accepts,
        lower=_lower_patches,
        cost=_cost_patches,
        requires=_FEATURES,
        needs=_NEEDS,
        uses_scratch=True,
    ),
    Kernel(
        name="conv2d_s8_mve_rows",
        family="conv2d_s8",
        source="mve_rows.c",
        accepts=_accepts_rows,
        lower=_lower_rows,
        cost=_cost_rows,
        requires=_FEATURES,
        needs=_NEEDS,
        uses_scratch=True,
    ),
)
