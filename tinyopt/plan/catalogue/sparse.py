"""Fully connected layers and convolutions whose weights are mostly zero.

Every kernel computes the same bits as the dense ones; which is chosen is a matter of predicted cycles and of flash.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tinyopt.execute.integer.convolution import fully_connected_multipliers, output_multipliers
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.plan.catalogue.convolution import contiguous_patches, is_int8, window_fields
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.overlap import convolution_lag
from tinyopt.plan.packing import bias_name, folded_bias, is_narrow, output_limits, requantization, right_shifts
from tinyopt.plan.sparse import FORMATS, Format

DENSE, CONVOLUTION = "sparse_fully_connected_s8", "sparse_conv2d_s8"
FAMILIES = frozenset({DENSE, CONVOLUTION})
"""Families of the kernels that neither store nor multiply zeros."""


@dataclass(frozen=True)
class _Rates:
    """Cycles of a kernel. For a fully connected layer per input row, for a convolution per block of pixels."""

    entry: float
    """An entry of the stream: a pair, a block, or a byte of positions with its four weights."""
    run: float
    output: float
    tap: float = 0.0
    """Making the columns of a block of pixels."""


def _rows(weights: Array) -> Array:
    """[outputs, taps]"""
    return weights.reshape(weights.shape[0], -1)


def _multipliers(graph: Graph, operator: Operator) -> tuple[Array, Array]:
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    if isinstance(operator.attributes, ops.FullyConnected):
        return fully_connected_multipliers(ins[0], ins[1], y)
    return output_multipliers(ins[0], ins[1], y)


def _accepts(kind: type[ops.FullyConnected] | type[ops.Conv2d], stored: Format) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        a = operator.attributes
        if not isinstance(a, kind) or (isinstance(a, ops.Conv2d) and a.groups != 1) or not is_int8(graph, operator):
            return False
        ins = graph.ins(operator)
        weights = ins[1].value
        if isinstance(a, ops.Conv2d) and stored.name == "1x4":  # a block lies in one row of taps
            row = weights.shape[2] * weights.shape[3]
            if row % 4 and not contiguous_patches(graph, operator):
                return False
        return stored.suits(_rows(weights)) and is_narrow(
            weights, folded_bias(ins, weights), *_multipliers(graph, operator)
        )

    return accepts


def _common(graph: Graph, operator: Operator, stored: Format, activation: ops.Clamp) -> dict[str, Value]:
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    w = ins[1]
    multipliers, shifts = _multipliers(graph, operator)
    return {
        "weights": Constant(stored.pack(_rows(w.value)), align=1, source=w.name),
        "bias": Constant(folded_bias(ins, w.value), source=bias_name(ins)),
        **requantization(multipliers, right_shifts(multipliers, shifts)),
        **output_limits(y, activation),
    }


def _lower_dense(stored: Format) -> Callable[[Graph, Operator, Kernel], Call]:
    def lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
        a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
        assert isinstance(a, ops.FullyConnected)
        x, w = ins[0], ins[1]
        parameters: dict[str, Value] = {
            **_common(graph, operator, stored, a.activation),
            "rows": math.prod(x.shape[:-1]),
            "input_size": w.shape[1],
            "output_size": w.shape[0],
        }
        return Call(kernel, operator, parameters, (x.name,), (y.name,))

    return lower


def _lower_convolution(stored: Format, pixels: int) -> Callable[[Graph, Operator, Kernel], Call]:
    def lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
        a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
        assert isinstance(a, ops.Conv2d)
        x, w = ins[0], ins[1]
        contiguous = contiguous_patches(graph, operator)
        parameters: dict[str, Value] = {
            **_common(graph, operator, stored, a.activation),
            **window_fields(a, x, y, (w.shape[1], w.shape[2])),
            "output_channels": w.shape[0],
            "groups": 1,
            "contiguous": int(contiguous),
            "input_zero_point": x.zero_point,
        }
        scratch = 8 * (w.size // w.shape[0]) + (0 if contiguous else pixels * w.shape[2] * w.shape[3])
        # The patches of a block of pixels are read before any of their outputs is written.
        pointwise = w.shape[1:3] == (1, 1) and a.stride == (1, 1) and contiguous
        in_place = ((0, 0),) if pointwise and y.shape[3] <= x.shape[3] else ()
        overlaps = ((0, 0, convolution_lag(x, y, a, pixels)),) if x.shape[0] == 1 else ()
        return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch, in_place, overlaps)

    return lower


def _cost(stored: Format, rates: _Rates, pixels: int) -> Callable[[Graph, Operator], float]:
    def cost(graph: Graph, operator: Operator) -> float:
        w, y = graph.ins(operator)[1], graph.outs(operator)[0]
        weights = _rows(w.value)
        outputs, taps = weights.shape
        entries, runs = stored.steps(weights)
        blocks = -(-(y.size // outputs) // pixels)
        one = rates.entry * entries + rates.run * runs + rates.output * outputs + rates.tap * taps
        return float(blocks * one)

    return cost


# Fitted on the emulated M0, those of the DSP extension on the M4.
_PORTABLE_DENSE = {
    "gaps8": _Rates(27.7, 8, 102),
    "gaps4": _Rates(29.4, 8, 92),
    "1x4": _Rates(41.8, 8, 94),
    "4x1": _Rates(38.3, 8, 141),
    "1of4": _Rates(60, 4, 98),
    "2of4": _Rates(51, 4, 98),
}
_DSP_DENSE = {"1x4": _Rates(17.4, 8, 47), "4x1": _Rates(14.7, 8, 59)}
_PORTABLE_CONVOLUTION = {
    "gaps8": _Rates(36.4, 55, 258, 28),
    "gaps4": _Rates(38.1, 55, 255, 28),
    "1x4": _Rates(62.5, 55, 255, 28),
    "4x1": _Rates(75.9, 220, 248, 28),
    "1of4": _Rates(122, 55, 266, 28),
    "2of4": _Rates(120, 55, 248, 28),
}
_DSP_CONVOLUTION = {
    "gaps8": _Rates(28.3, 8, 86, 15),
    "gaps4": _Rates(30.3, 8, 90, 15),
    "1x4": _Rates(35.8, 8, 86, 13.5),
    "4x1": _Rates(44.3, 8, 131, 15),
    "1of4": _Rates(57.6, 8, 90, 15),
    "2of4": _Rates(52.5, 8, 94, 15),
}
_DSP = frozenset({"dsp"})


def _dense(stored: Format, rates: _Rates, requires: frozenset[str] = frozenset()) -> Kernel:
    variant = stored.name + ("_dsp" if requires else "")
    return Kernel(
        name=f"{DENSE}_{variant}",
        family=DENSE,
        source=f"{variant}.c",
        accepts=_accepts(ops.FullyConnected, stored),
        lower=_lower_dense(stored),
        cost=_cost(stored, rates, 1),
        requires=requires,
        needs=("common.h", "narrow.h", "sparse.h"),
        counts_weights=True,
    )


def _convolution(stored: Format, rates: _Rates, requires: frozenset[str] = frozenset()) -> Kernel:
    variant = stored.name + ("_dsp" if requires else "")
    pixels = 4 if requires else 3
    return Kernel(
        name=f"{CONVOLUTION}_{variant}",
        family=CONVOLUTION,
        source=f"{variant}.c",
        accepts=_accepts(ops.Conv2d, stored),
        lower=_lower_convolution(stored, pixels),
        cost=_cost(stored, rates, pixels),
        requires=requires,
        needs=("common.h", "sparse.h", "window.h"),
        uses_scratch=True,
        counts_weights=True,
    )


KERNELS = (
    *(_dense(stored, _PORTABLE_DENSE[stored.name]) for stored in FORMATS),
    *(_dense(stored, _DSP_DENSE[stored.name], _DSP) for stored in FORMATS if stored.name in _DSP_DENSE),
    *(_convolution(stored, _PORTABLE_CONVOLUTION[stored.name]) for stored in FORMATS),
    *(_convolution(stored, _DSP_CONVOLUTION[stored.name], _DSP) for stored in FORMATS),
)
