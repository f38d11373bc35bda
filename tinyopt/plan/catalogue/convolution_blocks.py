"""The register-blocked convolution of the Arm DSP extension: four pixels by two output channels."""

from __future__ import annotations

import numpy as np

from tinyopt.execute.integer.convolution import output_multipliers
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.plan.blocks import fits_blocks, pack_stream
from tinyopt.plan.catalogue.convolution import contiguous_patches, is_int8, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.overlap import convolution_lag
from tinyopt.plan.packing import folded_bias, output_limits

BLOCK = 4
"""Pixels that are read before their outputs are written."""


def _runs(graph: Graph, operator: Operator) -> tuple[int, int]:
    """How a patch lies in the input: number of runs, and taps of a run (see ``dsp_4x2.c``)."""
    a, w = operator.attributes, graph.ins(operator)[1]
    assert isinstance(a, ops.Conv2d)
    _, height, width, channels = w.shape
    if contiguous_patches(graph, operator):
        return 1, height * width * channels
    return (height, width * channels) if a.dilation[1] == 1 else (height * width, channels)


def _parts(graph: Graph, operator: Operator) -> tuple[Array, Array, Array, Array]:
    """Weights [channels, taps with every run padded to a multiple of four], folded bias, multipliers, shifts."""
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    runs, taps = _runs(graph, operator)
    weights = ins[1].value.reshape(-1, runs, taps)
    padded = np.zeros((len(weights), runs, _padded(taps)), np.int8)
    padded[:, :, :taps] = weights
    multipliers, shifts = output_multipliers(ins[0], ins[1], y)
    return padded.reshape(len(weights), -1), folded_bias(ins, ins[1].value), multipliers, shifts


def _padded(taps: int) -> int:
    return -(-taps // 4) * 4


def _accepts(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    if not isinstance(a, ops.Conv2d) or a.groups != 1 or not is_int8(graph, operator):
        return False
    return fits_blocks(*_parts(graph, operator))


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.Conv2d)
    x, w = ins[0], ins[1]
    runs, taps = _runs(graph, operator)
    contiguous = contiguous_patches(graph, operator)
    parameters: dict[str, Value] = {
        "weights": Constant(pack_stream(*_parts(graph, operator)), source=w.name),
        **window_fields(a, x, y, (w.shape[1], w.shape[2])),
        "output_channels": w.shape[0],
        "groups": 1,
        "contiguous": int(contiguous),
        "input_zero_point": x.zero_point,
        **output_limits(y, a.activation),
    }
    scratch = 8 * runs * _padded(taps) + (0 if contiguous else _padded(taps))
    # A block of pixels is read before any of its outputs is written; they lie in the same place, or before it.
    pointwise = taps == x.shape[3] and runs == 1 and a.stride == (1, 1) and contiguous
    in_place = ((0, 0),) if pointwise and y.shape[3] <= x.shape[3] else ()
    overlaps = ((0, 0, convolution_lag(x, y, a, BLOCK)),) if x.shape[0] == 1 else ()
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch, in_place, overlaps)


def _cost(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M4: the loop over taps, the tail of every output, the widening of patches."""
    y = graph.outs(operator)[0]
    runs, taps = _runs(graph, operator)
    words = runs * _padded(taps) // 4
    pixels = y.size / y.shape[3]
    return 4.3 * words * y.size + 13 * y.size + pixels * (9 * words + 45 * runs + 30)


KERNELS = (
    Kernel(
        name="conv2d_s8_dsp_4x2",
        family="conv2d_s8",
        source="dsp_4x2.c",
        accepts=_accepts,
        lower=_lower,
        cost=_cost,
        requires=frozenset({"dsp"}),
        needs=("blocks_dsp.h", "common.h", "dsp.h", "window.h"),
        uses_scratch=True,
    ),
)
