"""Removal of dead and constant channels.

A channel that holds one known value everywhere can be folded into the bias of the layers that read it; a channel
that is only ever multiplied by zero needs no folding. Both leave the graph, with their weights, from the layer that
made them through everything between, when all operators on the way agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tinyopt.execute.integer.arithmetic import INT32_MAX
from tinyopt.graph import Array, DType, Graph, Operator, Quantization, Tensor, ops
from tinyopt.optimise.linear import Layer, is_layer
from tinyopt.optimise.links import channel_links
from tinyopt.optimise.ranges import Interval, channel_ranges, has_border

Masks = dict[str, Array]
"""Activation → bool [C]: the channels that leave."""


def remove_channels(graph: Graph) -> Graph:
    """Shrink every tensor by the channels that are dead or constant; inputs, outputs and states keep their shape.

    Exact on quantized tensors. In float graphs a constant times a sum of weights moves into the bias.
    """
    ranges = channel_ranges(graph)
    masks = _removable(graph, ranges)
    if not any(mask.any() for mask in masks.values()):
        return graph
    return _Shrinker(graph, ranges, masks).run()


# ---- which channels may leave ---------------------------------------------------------------------------------


def _removable(graph: Graph, ranges: Mapping[str, Interval]) -> Masks:
    """The largest set of channels that can leave together; every tensor keeps at least one."""
    fixed = graph.given | graph.kept
    masks: Masks = {}
    for name, tensor in graph.tensors.items():
        if not tensor.is_constant and tensor.shape:
            masks[name] = np.full(tensor.shape[-1], name not in fixed)
    while True:
        while sum(_constrain(graph, operator, ranges, masks) for operator in reversed(graph.operators)):
            pass
        emptied = next((mask for mask in masks.values() if mask.all()), None)
        if emptied is None:
            return masks
        emptied[0] = False


def _constrain(graph: Graph, operator: Operator, ranges: Mapping[str, Interval], masks: Masks) -> bool:
    """Take back what one operator does not allow; True when something was taken back."""
    names = [n for n in dict.fromkeys((*operator.inputs, *operator.outputs)) if n in masks]
    before = sum(int(masks[n].sum()) for n in names)
    if before == 0:
        return False
    a = operator.attributes
    links = channel_links(graph, operator)
    constant_parameters = all(t.is_constant for t in graph.ins(operator)[1:])
    if is_layer(a) and not isinstance(a, ops.DepthwiseConv2d):
        x, y = operator.inputs[0], operator.outputs[0]
        if constant_parameters and not (isinstance(a, ops.Conv2d) and a.groups > 1):
            if x in masks:
                masks[x] &= _absorbable(graph, operator, a, ranges[x], masks[x], ~masks[y])
        else:
            links = None
            _keep_all(masks, names)
    elif links is None or (is_layer(a) and not constant_parameters):
        _keep_all(masks, names)
    else:
        linked = {link.input for link in links}
        for position, name in enumerate(operator.inputs):
            if position not in linked:
                _keep_all(masks, [name])
        for link in links:
            source, target = masks.get(operator.inputs[link.input]), masks[operator.outputs[link.output]]
            if source is not None:
                source[link.source[~target[link.target]]] = False
                target[link.target[~source[link.source]]] = False
    return sum(int(masks[n].sum()) for n in names) != before


def _keep_all(masks: Masks, names: list[str]) -> None:
    for name in names:
        if name in masks:
            masks[name][:] = False


def _absorbable(
    graph: Graph, operator: Operator, a: Layer, known: Interval, candidates: Array, kept_outputs: Array
) -> Array:
    """Input channels that a layer can do without: bool [C]."""
    x, weights = graph.ins(operator)[:2]
    used = weights.value[kept_outputs]
    unread = ~used.any(axis=tuple(range(used.ndim - 1)))
    zero = x.zero_point if x.dtype.is_integer else 0
    silent = known.constant & (known.low == zero)
    if has_border(a):
        result: Array = unread | silent
        return result
    foldable = known.constant & candidates & ~unread & ~silent
    if foldable.any() and x.dtype.is_integer:
        bias = _folded_bias(graph, operator, known, foldable)
        if np.abs(bias).max() > INT32_MAX:
            foldable[:] = False
    result = unread | silent | foldable
    return result


def _folded_bias(graph: Graph, operator: Operator, known: Interval, removed: Array) -> Array:
    """The bias [O] of a layer without border after the constants of the channels ``removed`` moved into it.

    int64 for integers, else float64.
    """
    x, weights, *bias = graph.ins(operator)
    kind = np.int64 if x.dtype.is_integer else np.float64
    zero = x.zero_point if x.dtype.is_integer else 0
    values = np.where(removed & known.constant, known.low - zero, 0).astype(kind)
    sums = weights.value.astype(kind).sum(axis=tuple(range(1, weights.value.ndim - 1)))
    start = bias[0].value.astype(kind) if bias else np.zeros(weights.shape[0], kind)
    result: Array = start + sums @ values
    return result


# ---- taking them out ------------------------------------------------------------------------------------------


class _Shrinker:
    """Rewrites every operator and tensor without the channels in ``masks``."""

    def __init__(self, graph: Graph, ranges: Mapping[str, Interval], masks: Masks) -> None:
        self.graph, self.ranges, self.masks = graph, ranges, masks
        self.tensors: dict[str, Tensor] = {}

    def run(self) -> Graph:
        for name, mask in self.masks.items():
            if mask.any():
                tensor = self.graph.tensors[name]
                kept = np.flatnonzero(~mask)
                quantization = _take(tensor.quantization, len(tensor.shape) - 1, kept)
                shape = (*tensor.shape[:-1], len(kept))
                self.tensors[name] = replace(tensor, shape=shape, quantization=quantization)
        operators = [self._shrunk(operator) for operator in self.graph.operators]
        return self.graph.with_operators(operators, self.tensors.values())

    def _mask(self, name: str) -> Array:
        mask = self.masks.get(name)
        if mask is None:
            mask = np.zeros(self.graph.tensors[name].shape[-1:], bool)
        return mask

    def _shrunk(self, operator: Operator) -> Operator:
        touched = (*operator.inputs, *operator.outputs)
        if not any(name in self.tensors for name in touched):
            return operator
        a = operator.attributes
        if isinstance(a, ops.DepthwiseConv2d):
            kept = np.flatnonzero(~self._mask(operator.outputs[0]))
            parameters = [self._taken(name, -1, kept) for name in operator.inputs[1:]]
            return replace(operator, inputs=(operator.inputs[0], *parameters))
        if is_layer(a):
            return self._layer(operator)
        return replace(operator, attributes=self._attributes(operator), inputs=self._constants(operator))

    def _layer(self, operator: Operator) -> Operator:
        x, weights = self.graph.ins(operator)[:2]
        removed = self._mask(x.name)
        kept = np.flatnonzero(~self._mask(operator.outputs[0]))
        rows = weights.value[kept]
        moved = removed & rows.any(axis=tuple(range(rows.ndim - 1)))
        inputs = [x.name, self._taken(weights.name, 0, kept, np.flatnonzero(~removed))]
        known = self.ranges[x.name]
        zero = x.zero_point if x.dtype.is_integer else 0
        if (moved & (known.low != zero)).any():
            bias = _folded_bias(self.graph, operator, known, moved)[kept]
            inputs.append(self._new_bias(operator, bias, kept))
        elif len(operator.inputs) > 2:
            inputs.append(self._taken(operator.inputs[2], 0, kept))
        return replace(operator, inputs=tuple(inputs))

    def _new_bias(self, operator: Operator, values: Array, kept: Array) -> str:
        x, weights, *old = self.graph.ins(operator)
        if old:
            return self._add(old[0].name, values.astype(old[0].dtype.numpy), _take(old[0].quantization, 0, kept))
        name = f"{operator.name}_bias"
        if x.dtype is DType.FLOAT32:
            return self._add(name, values.astype(np.float32), None)
        assert weights.quantization is not None
        scales = [x.scale * scale for scale in weights.quantization.scales]
        many = len(scales) > 1
        quantization = Quantization.per_channel(scales, 0) if many else Quantization.per_tensor(scales[0])
        kind = np.int32 if x.dtype is DType.INT8 else np.int64
        return self._add(name, values.astype(kind), _take(quantization, 0, kept))

    def _attributes(self, operator: Operator) -> ops.Attributes:
        a = operator.attributes
        outs = [self.tensors.get(name, self.graph.tensors[name]) for name in operator.outputs]
        if isinstance(a, (ops.Reshape, ops.BroadcastTo)):
            return replace(a, shape=outs[0].shape)
        if isinstance(a, ops.Split):
            return replace(a, sizes=tuple(t.shape[a.axis] for t in outs))
        if isinstance(a, ops.Slice):
            begin = int((~self._mask(operator.inputs[0]))[: a.begin[-1]].sum())
            return replace(a, begin=(*a.begin[:-1], begin), size=outs[0].shape)
        return a

    def _constants(self, operator: Operator) -> tuple[str, ...]:
        """The inputs, with constants that have a value per channel cut to the channels that stay."""
        inputs = list(operator.inputs)
        for link in channel_links(self.graph, operator) or []:
            name = inputs[link.input]
            if self.graph.tensors[name].is_constant:
                gone = self._mask(operator.outputs[link.output])[link.target]
                if gone.any():
                    inputs[link.input] = self._taken(name, -1, link.source[~gone])
        return tuple(inputs)

    def _taken(self, name: str, axis: int, kept: Array, kept_last: Array | None = None) -> str:
        """A new constant: ``kept`` of one axis, and ``kept_last`` of the last one."""
        tensor = self.graph.tensors[name]
        axis %= len(tensor.shape)
        data, quantization = np.take(tensor.value, kept, axis), _take(tensor.quantization, axis, kept)
        if kept_last is not None:
            data = np.take(data, kept_last, -1)
        return self._add(name, data, quantization)

    def _add(self, stem: str, data: Array, quantization: Quantization | None) -> str:
        name = self.graph.fresh_name(f"{stem}_kept", self.tensors)
        self.tensors[name] = Tensor.constant(name, np.ascontiguousarray(data), quantization)
        return name


def _take(quantization: Quantization | None, axis: int, kept: Array) -> Quantization | None:
    if quantization is None or quantization.axis != axis:
        return quantization
    return quantization.take(kept)
