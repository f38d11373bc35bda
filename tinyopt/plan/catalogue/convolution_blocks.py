"""The register-blocked convolutions of the Arm DSP extension: four pixels by two output channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.execute.integer.convolution import output_multipliers
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.plan.blocks import block_words, fits_blocks, fits_relu_blocks, pack_relu_stream, pack_stream
from tinyopt.plan.catalogue.convolution import contiguous_patches, is_int8, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.overlap import convolution_lag, window_lag
from tinyopt.plan.packing import folded_bias, output_limits

BLOCK = 4
"""Pixels that are read before their outputs are written."""


def run_of(graph: Graph, operator: Operator) -> int:
    """Taps of a run (see ``dsp_4x2.c``); a patch is a whole number of runs."""
    a, w = operator.attributes, graph.ins(operator)[1]
    assert isinstance(a, ops.Conv2d)
    _, height, width, channels = w.shape
    if contiguous_patches(graph, operator):
        return height * width * channels
    return width * channels if a.dilation[1] == 1 else channels


def _parts(graph: Graph, operator: Operator) -> tuple[Array, Array, Array, Array]:
    """Weights [channels, taps], folded bias, multipliers, shifts."""
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    weights = ins[1].value
    return weights.reshape(len(weights), -1), folded_bias(ins, weights), *output_multipliers(ins[0], ins[1], y)


def _window(graph: Graph, operator: Operator) -> tuple[int, int]:
    """Rows of the window, and bytes of a row; see ``describe_patches`` in ``dsp_4x2.c``."""
    a, (x, w), y = operator.attributes, graph.ins(operator)[:2], graph.outs(operator)[0]
    assert isinstance(a, ops.Conv2d)
    if contiguous_patches(graph, operator):
        return 0, 0
    ahead = 0 if y.shape[2] % BLOCK == 0 else (y.shape[2] + BLOCK - 2) // y.shape[2]
    rows = (w.shape[1] - 1) * a.dilation[0] + 1 + a.stride[0] * ahead
    width = (y.shape[2] - 1) * a.stride[1] + (w.shape[2] - 1) * a.dilation[1] + 1
    return rows, -(-width * x.shape[3] // 4) * 4


def _is_convolution(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    return isinstance(a, ops.Conv2d) and a.groups == 1 and is_int8(graph, operator)


def _accepts(graph: Graph, operator: Operator) -> bool:
    return _is_convolution(graph, operator) and fits_blocks(*_parts(graph, operator))


def _accepts_relu(graph: Graph, operator: Operator) -> bool:
    a, y = operator.attributes, graph.outs(operator)[0]
    if not isinstance(a, ops.Conv2d) or not _is_convolution(graph, operator):
        return False
    low, _ = clamp_limits(a.activation, y)
    return low >= y.zero_point and fits_relu_blocks(*_parts(graph, operator), y.zero_point)


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    return _lower_stream(graph, operator, kernel, pack_stream(*_parts(graph, operator), run=run_of(graph, operator)))


def _lower_relu(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    run, zero_point = run_of(graph, operator), graph.outs(operator)[0].zero_point
    stream = pack_relu_stream(*_parts(graph, operator), run=run, zero_point=zero_point)
    return _lower_stream(graph, operator, kernel, stream)


def _lower_stream(graph: Graph, operator: Operator, kernel: Kernel, stream: Array) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.Conv2d)
    x, w = ins[0], ins[1]
    contiguous = contiguous_patches(graph, operator)
    parameters: Mapping[str, Value] = {
        "weights": Constant(stream, source=w.name),
        **window_fields(a, x, y, (w.shape[1], w.shape[2])),
        "output_channels": w.shape[0],
        "groups": 1,
        "contiguous": int(contiguous),
        "input_zero_point": x.zero_point,
        **output_limits(y, a.activation),
    }
    rows, row_size = _window(graph, operator)
    scratch = 4 * BLOCK * _words(graph, operator) + (0 if contiguous else rows * row_size + 3)
    # A block of pixels is read before any of its outputs is written; they lie in the same place, or before it.
    pointwise = w.shape[1:3] == (1, 1) and a.stride == (1, 1) and contiguous
    in_place = ((0, 0),) if pointwise and y.shape[3] <= x.shape[3] else ()
    lag = convolution_lag(x, y, a, BLOCK) if contiguous else window_lag(x, y, a, rows, BLOCK)
    overlaps = ((0, 0, lag),) if x.shape[0] == 1 else ()
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch, in_place, overlaps)


def _words(graph: Graph, operator: Operator) -> int:
    """Words of a column."""
    run = run_of(graph, operator)
    return int(np.prod(graph.ins(operator)[1].shape[1:])) // run * block_words(run)


def _cost_of(graph: Graph, operator: Operator, per_output: float) -> float:
    """Fitted on the emulated M4: the loop over words, the tail of every output, the widening of patches."""
    y = graph.outs(operator)[0]
    words, runs = _words(graph, operator), _words(graph, operator) // block_words(run_of(graph, operator))
    pixels = y.size / y.shape[3]
    rows, row_size = _window(graph, operator)
    copied = 1.5 * row_size * rows * y.shape[1]
    return (2.08 * words + per_output) * y.size + pixels * (3.5 * words + 5 * runs + 35) + copied


def _cost(graph: Graph, operator: Operator) -> float:
    return _cost_of(graph, operator, 13)


def _cost_relu(graph: Graph, operator: Operator) -> float:
    return _cost_of(graph, operator, 11)


_COMMON: dict[str, Any] = {
    "family": "conv2d_s8",
    "source": "dsp_4x2.c",
    "requires": frozenset({"dsp"}),
    "needs": ("blocks_dsp.h", "common.h", "dsp.h", "window.h"),
    "uses_scratch": True,
}

KERNELS = (
    Kernel(name="conv2d_s8_dsp_4x2", accepts=_accepts, lower=_lower, cost=_cost, **_COMMON),
    Kernel(name="conv2d_s8_dsp_4x2_relu", accepts=_accepts_relu, lower=_lower_relu, cost=_cost_relu, **_COMMON),
)
