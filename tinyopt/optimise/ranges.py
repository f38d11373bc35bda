"""What is known about every channel before anything has run: the interval of its values, at every position.

A channel is the last axis of a tensor. Integer intervals are exact bounds of what the integer executor computes: an
interval of one value is a constant channel. Of float tensors only constant channels are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from tinyopt.errors import GraphError
from tinyopt.execute.integer.arithmetic import INT32_MAX, INT32_MIN, clamp_limits
from tinyopt.execute.integer.convolution import finish, fully_connected_multipliers, has_wide_sums, output_multipliers
from tinyopt.graph import Array, DType, Graph, Operator, Tensor, ops
from tinyopt.optimise.evaluate import all_values, compute, elementwise, has_few_values
from tinyopt.optimise.linear import Layer, is_layer
from tinyopt.optimise.links import channel_links


@dataclass(frozen=True, eq=False)
class Interval:
    """Smallest and largest value of each channel, [C] each; -inf and inf where a float channel is not constant."""

    low: Array
    high: Array

    @property
    def constant(self) -> Array:
        """Which channels hold one value everywhere: bool [C]."""
        result: Array = self.low == self.high
        return result


def channel_ranges(graph: Graph) -> dict[str, Interval]:
    """The interval of every tensor that has an axis."""
    ranges: dict[str, Interval] = {}
    for tensor in graph.tensors.values():
        if tensor.shape:
            ranges[tensor.name] = _of_constant(tensor) if tensor.is_constant else _unknown(tensor)
    for operator in graph.operators:
        if any(not t.shape for t in (*graph.ins(operator), *graph.outs(operator)) if not t.is_constant):
            continue
        try:
            intervals = _output_ranges(graph, operator, ranges)
        except GraphError:  # no executor has this operator for these types
            continue
        for tensor, interval in zip(graph.outs(operator), intervals):
            ranges[tensor.name] = interval
    return ranges


def _unknown(tensor: Tensor) -> Interval:
    low, high = (-np.inf, np.inf) if not tensor.dtype.is_integer else tensor.dtype.limits
    kind = np.int64 if tensor.dtype.is_integer else np.float64
    shape = tensor.shape[-1:]
    return Interval(np.full(shape, low, kind), np.full(shape, high, kind))


def _of_constant(tensor: Tensor) -> Interval:
    rows = tensor.value.reshape(-1, tensor.shape[-1])
    low, high = rows.min(0), rows.max(0)
    if tensor.dtype.is_integer:
        return Interval(low.astype(np.int64), high.astype(np.int64))
    return _only_constants(low.astype(np.float64), low == high)


def _only_constants(values: Array, constant: Array) -> Interval:
    return Interval(np.where(constant, values, -np.inf), np.where(constant, values, np.inf))


_MONOTONE = (ops.AveragePool2d, ops.MaxPool2d, ops.Reduce, ops.Resize2d, ops.Pad)
_EXTREME_AT_CORNERS = frozenset(ops.BinaryKind) - {ops.BinaryKind.DIV}


def _output_ranges(graph: Graph, operator: Operator, ranges: Mapping[str, Interval]) -> list[Interval]:
    a, ins, outs = operator.attributes, graph.ins(operator), graph.outs(operator)
    x, y = ins[0], outs[0]
    integers = all(t.dtype.is_integer and t.quantization is not None for t in (*ins[:1], *outs))
    if is_layer(a):
        if any(not t.is_constant for t in ins[1:]):
            return [_unknown(y)]
        return [_integer_layer(a, ins, y, ranges[x.name]) if integers else _float_layer(a, ins, y, ranges[x.name])]
    links = channel_links(graph, operator)
    if links is None:
        return [_unknown(t) for t in outs]
    if isinstance(a, (ops.Reshape, ops.Transpose, ops.Concat, ops.Split, ops.Slice, ops.BroadcastTo)):
        return _moved(graph, operator, ranges)
    if integers and isinstance(a, (ops.Unary, ops.Clip, ops.Quantize)) and has_few_values(x):
        return [_table(a, x, y, ranges[x.name])]
    monotone = isinstance(a, _MONOTONE) or (isinstance(a, ops.Binary) and a.op in _EXTREME_AT_CORNERS)
    if integers and monotone and _keeps_order(ins, y):
        return [_at_corners(a, ins, y, ranges)]
    return [_constants_through(graph, operator, ranges)] if len(outs) == 1 else [_unknown(t) for t in outs]


def _keeps_order(ins: Sequence[Tensor], y: Tensor) -> bool:
    """Whether no intermediate of an int8 operator can wrap, which would break the order of its results."""
    if any(t.dtype not in (DType.INT8, DType.UINT8) for t in (*ins, y)):
        return False
    scales = [t.scale for t in ins]
    return max(*scales, float(np.prod(scales))) <= 1024 * y.scale


def _moved(graph: Graph, operator: Operator, ranges: Mapping[str, Interval]) -> list[Interval]:
    """Operators that only move data: the union of the channels that land in each output channel."""
    results = []
    for position, tensor in enumerate(graph.outs(operator)):
        unknown = _unknown(tensor)
        low, high = unknown.high.copy(), unknown.low.copy()
        for link in channel_links(graph, operator) or []:
            if link.output == position:
                source = ranges[operator.inputs[link.input]]
                np.minimum.at(low, link.target, source.low[link.source])
                np.maximum.at(high, link.target, source.high[link.source])
        if tensor.dtype.is_integer:
            results.append(Interval(low, high))
        else:
            results.append(_only_constants(low, (low == high) & np.isfinite(low)))
    return results


def _table(a: ops.Attributes, x: Tensor, y: Tensor, known: Interval) -> Interval:
    """An elementwise integer operator, through its values on every input."""
    table = elementwise(a, x, y, all_values(x.dtype)).astype(np.int64)
    first = x.dtype.limits[0]
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    pairs = []
    for low, high in zip(known.low.tolist(), known.high.tolist()):
        if (low, high) not in spans:
            part = table[low - first : high - first + 1]
            spans[low, high] = (int(part.min()), int(part.max()))
        pairs.append(spans[low, high])
    limits = np.array(pairs, np.int64).reshape(-1, 2)
    return Interval(limits[:, 0], limits[:, 1])


def _filled(tensor: Tensor, values: Array) -> Tensor:
    """The tensor as a constant that holds ``values`` [C] at every position."""
    data = np.ascontiguousarray(np.broadcast_to(values.astype(tensor.dtype.numpy), tensor.shape))
    return Tensor(tensor.name, tensor.shape, tensor.dtype, data, tensor.quantization)


def _over_positions(y: Tensor, result: Array) -> Array:
    rows: Array = result.reshape(-1, y.shape[-1])
    return rows


def _at_corners(a: ops.Attributes, ins: Sequence[Tensor], y: Tensor, ranges: Mapping[str, Interval]) -> Interval:
    """An integer operator whose extremes lie where every input is at one of its limits."""
    choices = [[t] if t.is_constant else [_filled(t, ranges[t.name].low), _filled(t, ranges[t.name].high)] for t in ins]
    rows = np.concatenate([_over_positions(y, compute(a, corner, [y])[0]) for corner in product(*choices)])
    return Interval(rows.min(0).astype(np.int64), rows.max(0).astype(np.int64))


def _constants_through(graph: Graph, operator: Operator, ranges: Mapping[str, Interval]) -> Interval:
    """Any operator that works channel by channel: constant in, constant out, if it is so at every position."""
    a, ins, (y,) = operator.attributes, graph.ins(operator), graph.outs(operator)
    constant = np.ones(y.shape[-1], bool)
    filled = []
    linked = {link.input: link for link in channel_links(graph, operator) or []}
    for position, tensor in enumerate(ins):
        if tensor.is_constant:
            filled.append(tensor)
            continue
        known = ranges[tensor.name]
        if position in linked:
            np.logical_and.at(constant, linked[position].target, known.constant[linked[position].source])
        elif not known.constant.all():
            constant[:] = False
        filled.append(_filled(tensor, np.where(known.constant, known.low, 0)))
    unknown = _unknown(y)
    if not constant.any():
        return unknown
    with np.errstate(all="ignore"):
        rows = _over_positions(y, compute(a, filled, [y])[0]).astype(unknown.low.dtype)
    constant &= (rows.min(0) == rows.max(0)) & np.isfinite(rows[0])
    return Interval(np.where(constant, rows[0], unknown.low), np.where(constant, rows[0], unknown.high))


# ---- layers with weights --------------------------------------------------------------------------------------


def has_border(a: Layer) -> bool:
    """Whether some outputs see fewer elements of the input than others."""
    return isinstance(a, ops.TransposeConv2d) or (not isinstance(a, ops.FullyConnected) and a.padding.any)


def _tap_sums(a: Layer, weights: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Smallest and largest sum of products for inputs between ``low`` and ``high`` [C]; [O] each."""
    positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
    if isinstance(a, ops.DepthwiseConv2d):
        low, high = np.repeat(low, a.multiplier), np.repeat(high, a.multiplier)
        up, down = positive.sum((0, 1, 2)), negative.sum((0, 1, 2))
        return up * low + down * high, up * high + down * low
    taps = tuple(range(1, weights.ndim - 1))
    up, down = positive.sum(taps), negative.sum(taps)
    groups = a.groups if isinstance(a, ops.Conv2d) else 1
    smallest, largest = [], []
    for g, (u, d) in enumerate(zip(np.split(up, groups), np.split(down, groups))):
        part = slice(g * u.shape[1], (g + 1) * u.shape[1])
        smallest.append(u @ low[part] + d @ high[part])
        largest.append(u @ high[part] + d @ low[part])
    return np.concatenate(smallest), np.concatenate(largest)


def _integer_layer(a: Layer, ins: Sequence[Tensor], y: Tensor, known: Interval) -> Interval:
    x, weights = ins[0], ins[1]
    low, high = known.low - x.zero_point, known.high - x.zero_point
    if has_border(a):
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    sums = np.stack(_tap_sums(a, weights.value.astype(np.int64), low, high))
    multiplier = fully_connected_multipliers if isinstance(a, ops.FullyConnected) else output_multipliers
    multipliers = multiplier(x, weights, y)
    totals = sums + (ins[2].value.astype(np.int64) if len(ins) > 2 else 0)
    lowest, highest = clamp_limits(a.activation, y)
    if has_wide_sums(ins):
        fits = np.abs(totals).max(0) < 1 << 46
    else:
        shifted = np.clip(totals, 2 * INT32_MIN, 2 * INT32_MAX) << np.maximum(multipliers[1].astype(np.int64), 0)
        fits = (shifted.min(0) >= INT32_MIN) & (shifted.max(0) <= INT32_MAX)
    results = finish(sums, [t.value if t.is_constant else np.zeros(0) for t in ins], ins, y, multipliers, a.activation)
    values = results.astype(np.int64)
    return Interval(np.where(fits, values[0], lowest), np.where(fits, values[1], highest))


def _float_layer(a: Layer, ins: Sequence[Tensor], y: Tensor, known: Interval) -> Interval:
    """An output channel is constant when its weights are zero for every input that is not."""
    if y.dtype is not DType.FLOAT32:
        return _unknown(y)
    weights = ins[1].value.astype(np.float64)
    usable = known.constant & ((known.low == 0) | (not has_border(a)))
    values = np.where(usable, known.low, 0.0)
    _, unknown_terms = _tap_sums(a, np.abs(weights), np.zeros(len(values)), (~usable).astype(np.float64))
    sums, _ = _tap_sums(a, weights, values, values)
    bias = ins[2].value.astype(np.float64) if len(ins) > 2 else 0.0
    low = -np.inf if a.activation.low is None else a.activation.low
    high = np.inf if a.activation.high is None else a.activation.high
    results = np.clip((sums + bias).astype(np.float32), low, high).astype(np.float64)
    return _only_constants(results, unknown_terms == 0)
