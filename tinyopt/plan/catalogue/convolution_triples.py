"""The convolution for cores without SIMD: three pixels at a time, two multiplications for three products."""

from __future__ import annotations

import numpy as np

from tinyopt.execute.integer.convolution import output_multipliers
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.catalogue.convolution import contiguous_patches, is_int8, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.overlap import convolution_lag
from tinyopt.plan.packing import bias_name, folded_bias, is_narrow, output_limits, requantization, right_shifts

PIXELS = 3
"""Pixels of a block: their inputs are read before any of their outputs is written."""

_SUM_LIMIT = (1 << 20) - (1 << 10)
"""Sums of a segment stay below this in magnitude (``firmware/kernels/common/triples.h``)."""


def _rows(weights: Array) -> Array:
    """[channels, …] → int64 [channels, taps], the taps padded with zeros to an even number."""
    flat = weights.reshape(weights.shape[0], -1).astype(np.int64)
    return np.pad(flat, ((0, 0), (0, flat.shape[1] % 2)))


def segment_taps(weights: Array) -> int:
    """The largest even number of taps after which no sum of products with int8 inputs can have left the limit.

    ``weights``: int64 [channels, taps], an even number of taps. The taps are cut into equal segments (the last one
    may be shorter); two taps always fit.
    """
    taps = weights.shape[1]
    reach = np.cumsum(np.pad(np.maximum(-128 * weights, 127 * weights), ((0, 0), (1, 0))), axis=1)
    depth = np.cumsum(np.pad(np.maximum(128 * weights, -127 * weights), ((0, 0), (1, 0))), axis=1)
    for count in range(1, taps // 2 + 1):
        segment = 2 * -(-taps // (2 * count))
        cuts = [*range(0, taps, segment), taps]
        worst = max(int(np.diff(sums[:, cuts], axis=1).max()) for sums in (reach, depth))
        if worst < _SUM_LIMIT:
            return int(segment)
    return 2


def pack_blocks(rows: Array) -> Array:
    """The blocks of ``triples.h``: int8, four channels (the last block two, if that is enough) by two taps."""
    channels, taps = rows.shape
    padded = np.zeros((-(-channels // 2) * 2, taps), np.int8)
    padded[:channels] = rows
    pairs = padded.reshape(-1, 2, taps // 2, 2).transpose(0, 2, 3, 1)  # [pairs, taps / 2, 2 taps, 2 channels]
    whole = len(pairs) // 2 * 2
    blocks = pairs[:whole].reshape(whole // 2, 2, taps // 2, 4).swapaxes(1, 2)
    result: Array = np.concatenate([blocks.reshape(-1), pairs[whole:].reshape(-1)])
    return result


def _accepts(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    if not isinstance(a, ops.Conv2d) or a.groups != 1 or not is_int8(graph, operator):
        return False
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    return is_narrow(ins[1].value, folded_bias(ins, ins[1].value), *output_multipliers(ins[0], ins[1], y))


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.Conv2d)
    x, w = ins[0], ins[1]
    rows = _rows(w.value)
    contiguous = contiguous_patches(graph, operator)
    multipliers, shifts = output_multipliers(x, w, y)
    parameters: dict[str, Value] = {
        "weights": Constant(pack_blocks(rows), source=w.name),
        "bias": Constant(folded_bias(ins, w.value), source=bias_name(ins)),
        **requantization(multipliers, right_shifts(multipliers, shifts)),
        **window_fields(a, x, y, (w.shape[1], w.shape[2])),
        "output_channels": w.shape[0],
        "groups": 1,
        "contiguous": int(contiguous),
        "segment": segment_taps(rows),
        "input_zero_point": x.zero_point,
        **output_limits(y, a.activation),
    }
    scratch = 8 * rows.shape[1] + (0 if contiguous else 3 * w.shape[2] * w.shape[3])
    # The patches of three pixels are read before any of their outputs is written, in the same place or before it.
    pointwise = w.shape[1:3] == (1, 1) and a.stride == (1, 1) and contiguous
    in_place = ((0, 0),) if pointwise and y.shape[3] <= x.shape[3] else ()
    overlaps = ((0, 0, convolution_lag(x, y, a, PIXELS)),) if x.shape[0] == 1 else ()
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch, in_place, overlaps)


def _cost(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M0: products, the tail of every output, the columns. Pixels come in threes."""
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    pixels = y.size // y.shape[3]
    wasted = -(-pixels // 3) * 3 / pixels
    taps = ins[1].size // y.shape[3]
    return wasted * (2.8 * operator_macs(graph, operator) + 45 * y.size + 8 * pixels * taps)


KERNELS = (
    Kernel(
        name="conv2d_s8_triples",
        family="conv2d_s8",
        source="triples.c",
        accepts=_accepts,
        lower=_lower,
        cost=_cost,
        needs=("common.h", "narrow.h", "triples.h", "window.h"),
        uses_scratch=True,
    ),
)
