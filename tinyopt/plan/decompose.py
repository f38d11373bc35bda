"""Layers without a fast kernel of their own, as layers that have one: exact graph → graph, where it should pay.

- A convolution in groups is one convolution per group.
- A transposed convolution of stride s is s·s convolutions of stride 1, each of which computes the outputs of one phase
  (rows and columns with the same remainder by s), and one copy that interleaves them. No product with the zeros between
  input pixels is ever computed.
- A fully connected layer on several rows is a 1x1 convolution, and a convolution whose only patch is the image is a
  fully connected layer, where both round their multipliers alike.
- A depthwise convolution of one channel is a convolution; with several outputs a channel, the input is repeated.

The sums are the same sums in another order, and int32 sums do not depend on the order, so every output bit is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from tinyopt.execute.integer.convolution import fully_connected_multipliers, output_multipliers
from tinyopt.graph import Array, DType, Graph, GraphBuilder, Operator, Quantization, Tensor, ops
from tinyopt.graph.costs import peak_activation_bytes

LEAST_GAIN = 0.005
"""Part of the model's cycles that a layer in parts must save: other kernels are more code."""
_BLOCK = 4
"""Rows from which the kernels of convolutions work on several at a time."""

Price = Callable[[Graph, Operator], float]
"""Predicted cycles of an operator with its best kernel; infinite where it has none."""


def decompose(
    graph: Graph, price: Price, room: int, keep: Collection[str] = (), *, least_gain: float = LEAST_GAIN
) -> Graph:
    """Replace layers by others wherever the predicted cycles of the model fall noticeably.

    ``room``: bytes for activations; a layer stays as it is where its parts would need more (unless the graph does
    anyway). ``keep``: operators that are left alone. ``least_gain``: part of the model's cycles that must be saved.
    """
    least: float | None = None
    for operator in graph.operators:
        rule = _RULES.get(type(operator.attributes))
        if rule is None or operator.name in keep or not _is_int8(graph, operator):
            continue
        parts = rule(graph, operator)
        if parts is None:
            continue
        gain = price(graph, operator) - _sum(parts, price)
        if gain > 0 and least is None:
            least = least_gain * _sum(graph, price)
        if not (gain == math.inf or gain > (least or 0.0)):
            continue
        changed = _spliced(graph, operator, parts)
        if changed is not None and peak_activation_bytes(changed) <= max(room, peak_activation_bytes(graph)):
            graph = changed
    return graph


def _sum(graph: Graph, price: Price) -> float:
    """Reshapes cost nothing."""
    return sum(price(graph, part) for part in graph.operators if not isinstance(part.attributes, ops.Reshape))


def _is_int8(graph: Graph, operator: Operator) -> bool:
    x, w, *bias = graph.ins(operator)
    constant = not x.is_constant and all(t.is_constant for t in (w, *bias))
    return constant and x.dtype is DType.INT8 and w.dtype is DType.INT8


def _spliced(graph: Graph, operator: Operator, parts: Graph) -> Graph | None:
    """The graph with the parts in the operator's place; None where a name is taken."""
    shared = {operator.inputs[0], operator.outputs[0]}
    names = {other.name for other in graph.operators} - {operator.name}
    if any(part.name in names for part in parts.operators) or (parts.tensors.keys() - shared) & graph.tensors.keys():
        return None
    index = graph.operators.index(operator)
    operators = (*graph.operators[:index], *parts.operators, *graph.operators[index + 1 :])
    tensors = {**{name: parts.tensors[name] for name in parts.tensors}, **graph.tensors}
    return graph.with_operators(operators, tensors.values())


# ---- the rules: an operator to a graph of its parts, from the operator's input to its output ----------------------


class _Parts:
    """A graph that grows from the input of a layer with weights."""

    def __init__(self, graph: Graph, operator: Operator) -> None:
        self.operator = operator
        self.x, self.w, *rest = graph.ins(operator)
        self.bias: Tensor | None = rest[0] if rest else None
        self.y = graph.outs(operator)[0]
        self.builder = GraphBuilder(operator.name)
        self.builder.input(self.x.name, self.x.shape, self.x.dtype, self.x.quantization)

    def move(self, attributes: ops.Attributes, inputs: Sequence[str], name: str, like: Tensor) -> str:
        """Data movement; ``like`` has the quantization."""
        return self.builder.add(attributes, inputs, name=self.named(name), quantization=like.quantization)

    def layer(
        self, attributes: ops.Attributes, x: str, weights: Array, channels: slice, name: str, *, axis: int = 0
    ) -> str:
        """A layer on some output channels. ``weights``: theirs, their channels on ``axis``."""
        inputs = [x, self._constant(self.w, "weights", name, weights, channels, axis)]
        if self.bias is not None:
            inputs.append(self._constant(self.bias, "bias", name, self.bias.value[channels], channels, 0))
        return self.builder.add(attributes, inputs, name=self.named(name), quantization=self.y.quantization)

    def split(self, sizes: tuple[int, ...]) -> list[str]:
        quantization = self.x.quantization
        return self.builder.add_multi(
            ops.Split(3, sizes), [self.x.name], self.named("split"), quantizations=[quantization]
        )

    def finish(self, attributes: ops.Attributes, inputs: Sequence[str]) -> Graph:
        """The last operator has the name and the output of the layer."""
        name, y = self.operator.name, self.y
        self.builder.output(self.builder.add(attributes, inputs, name=name, output=y.name, quantization=y.quantization))
        return self.builder.build()

    def finish_layer(self, attributes: ops.Attributes, x: str, weights: Array, *, axis: int = 0) -> Graph:
        """As ``finish``, for a layer on all output channels."""
        every = slice(None)
        inputs = [x, self._constant(self.w, "weights", "whole", weights, every, axis)]
        if self.bias is not None:
            inputs.append(self._constant(self.bias, "bias", "whole", self.bias.value, every, 0))
        return self.finish(attributes, inputs)

    def named(self, part: str) -> str:
        return f"{self.operator.name}/{part}"

    def _constant(self, tensor: Tensor, kind: str, part: str, data: Array, channels: slice, axis: int) -> str:
        quantization = tensor.quantization
        if quantization is not None and quantization.axis is not None:
            quantization = Quantization(quantization.scales[channels], quantization.zero_points[channels], axis)
        return self.builder.constant(self.named(f"{part}/{kind}"), np.ascontiguousarray(data), quantization)


def _convolution(graph: Graph, operator: Operator) -> Graph | None:
    a = operator.attributes
    assert isinstance(a, ops.Conv2d)
    return _whole_image(graph, operator, a) if a.groups == 1 else _grouped(graph, operator, a)


def _whole_image(graph: Graph, operator: Operator, a: ops.Conv2d) -> Graph | None:
    """One patch that is the image: a fully connected layer."""
    parts = _Parts(graph, operator)
    if parts.x.shape[1:] != parts.w.shape[1:] or parts.x.shape[0] != 1 or a.padding.any or not _scales_agree(parts):
        return None
    taps = parts.x.size
    row = parts.move(ops.Reshape((1, taps)), [parts.x.name], "row", parts.x)
    weights = parts.w.value.reshape(-1, taps)
    sums = parts.layer(ops.FullyConnected(a.activation), row, weights, slice(None), "connected")
    return parts.finish(ops.Reshape(parts.y.shape), [sums])


def _scales_agree(parts: _Parts) -> bool:
    """Whether a convolution and a fully connected layer round their multipliers alike."""
    tensors = parts.x, parts.w, parts.y
    pairs = zip(fully_connected_multipliers(*tensors), output_multipliers(*tensors))
    return all(np.array_equal(one, two) for one, two in pairs)


def _grouped(graph: Graph, operator: Operator, a: ops.Conv2d) -> Graph:
    """Split, a convolution per group, concatenate."""
    parts = _Parts(graph, operator)
    per_group, depth = parts.w.shape[0] // a.groups, parts.w.shape[3]
    results = []
    for group, piece in enumerate(parts.split((depth,) * a.groups)):
        channels = slice(group * per_group, (group + 1) * per_group)
        attributes = replace(a, groups=1)
        results.append(parts.layer(attributes, piece, parts.w.value[channels], channels, f"group{group}"))
    return parts.finish(ops.Concat(3), results)


def _depthwise(graph: Graph, operator: Operator) -> Graph | None:
    """One input channel: a convolution. Several outputs a channel: one each of a repeated input."""
    a = operator.attributes
    assert isinstance(a, ops.DepthwiseConv2d)
    if a.multiplier == 1:
        return None
    parts = _Parts(graph, operator)
    n, height, width, channels = parts.x.shape
    if channels == 1:
        attributes = ops.Conv2d(a.stride, a.padding, a.dilation, activation=a.activation)
        return parts.finish_layer(attributes, parts.x.name, parts.w.value.transpose(3, 1, 2, 0))
    flat = n * height * width * channels
    column = parts.move(ops.Reshape((flat, 1)), [parts.x.name], "column", parts.x)
    repeated = parts.move(ops.BroadcastTo((flat, a.multiplier)), [column], "repeated", parts.x)
    image = parts.move(ops.Reshape((n, height, width, channels * a.multiplier)), [repeated], "image", parts.x)
    return parts.finish_layer(replace(a, multiplier=1), image, parts.w.value, axis=3)


def phase_taps(kernel: int, stride: int, dilation: int, before: int) -> list[tuple[list[int], int, int]] | None:
    """How the phases of a transposed convolution read its input, along one axis.

    An input pixel ``i`` adds tap ``k`` to the output ``i * stride + k * dilation - before``. The outputs
    ``q * stride + phase`` are a convolution over ``q``: for each phase the taps in the order of the input pixels that
    they meet, how far apart those pixels are, and how many pixels before pixel ``q`` the first one lies.

    None where a phase meets no tap, or starts behind the first pixel.
    """
    phases = []
    for phase in range(stride):
        taps = [k for k in reversed(range(kernel)) if (phase + before - k * dilation) % stride == 0]
        if not taps:
            return None
        first = (phase + before - taps[0] * dilation) // stride
        if first > 0:
            return None
        phases.append((taps, dilation // math.gcd(dilation, stride), -first))
    return phases


def _transposed(graph: Graph, operator: Operator) -> Graph | None:
    """A convolution per phase, joined, interleaved, and cut to size."""
    a = operator.attributes
    assert isinstance(a, ops.TransposeConv2d)
    parts = _Parts(graph, operator)
    n, height, width, _ = parts.y.shape
    _, kernel_height, kernel_width, _ = parts.w.shape
    rows = phase_taps(kernel_height, a.stride[0], a.dilation[0], a.padding.top)
    columns = phase_taps(kernel_width, a.stride[1], a.dilation[1], a.padding.left)
    if rows is None or columns is None or n != 1:
        return None
    # All phases are computed to the size of the largest, and what is too much is cut off at the end.
    high = _phase_size(parts.x.shape[1], height, a.stride[0], rows)
    wide = _phase_size(parts.x.shape[2], width, a.stride[1], columns)
    every = slice(None)
    results = []
    for r, (taps_y, apart_y, top) in enumerate(rows):
        for c, (taps_x, apart_x, left) in enumerate(columns):
            bottom = high - parts.x.shape[1] - top + (len(taps_y) - 1) * apart_y
            right = wide - parts.x.shape[2] - left + (len(taps_x) - 1) * apart_x
            padding = ops.Padding(top, bottom, left, right)
            attributes = ops.Conv2d((1, 1), padding, (apart_y, apart_x), activation=a.activation)
            weights = parts.w.value[:, taps_y][:, :, taps_x]
            if a.stride == (1, 1) and (high, wide) == (height, width):
                return parts.finish_layer(attributes, parts.x.name, weights)
            results.append(parts.layer(attributes, parts.x.name, weights, every, f"phase{r}.{c}"))
    return _interleaved(parts, results, a.stride, (high, wide))


def _phase_size(size: int, output: int, stride: int, phases: Sequence[tuple[list[int], int, int]]) -> int:
    """Outputs of a phase: those that are wanted, and those that a convolution without padding behind gives anyway."""
    return max(-(-output // stride), *(size + before - (len(taps) - 1) * apart for taps, apart, before in phases))


def _interleaved(parts: _Parts, results: Sequence[str], stride: tuple[int, int], phase: tuple[int, int]) -> Graph:
    """Phases [1,high,wide,O], row phases first → the output."""
    _, height, width, channels = parts.y.shape
    high, wide = phase
    joined = parts.move(ops.Concat(0), results, "joined", parts.y) if len(results) > 1 else results[0]
    grid = parts.move(ops.Reshape((*stride, high, wide, channels)), [joined], "grid", parts.y)
    woven = parts.move(ops.Transpose((2, 0, 3, 1, 4)), [grid], "woven", parts.y)
    full = (1, high * stride[0], wide * stride[1], channels)
    if full == parts.y.shape:
        return parts.finish(ops.Reshape(full), [woven])
    whole = parts.move(ops.Reshape(full), [woven], "whole", parts.y)
    return parts.finish(ops.Slice((0,) * 4, (1, height, width, channels), (1,) * 4), [whole])


def _rows(graph: Graph, operator: Operator) -> Graph | None:
    """A fully connected layer on many rows is a convolution on as many pixels, whose kernels share weights."""
    a = operator.attributes
    assert isinstance(a, ops.FullyConnected)
    parts = _Parts(graph, operator)
    outputs, inputs = parts.w.shape
    rows = parts.x.size // inputs
    if rows < _BLOCK or not _scales_agree(parts):
        return None
    pixels = parts.move(ops.Reshape((1, 1, rows, inputs)), [parts.x.name], "pixels", parts.x)
    attributes = ops.Conv2d(activation=a.activation)
    image = parts.layer(attributes, pixels, parts.w.value.reshape(outputs, 1, 1, inputs), slice(None), "image")
    return parts.finish(ops.Reshape(parts.y.shape), [image])


_RULES: dict[type[ops.Attributes], Callable[[Graph, Operator], Graph | None]] = {
    ops.Conv2d: _convolution,
    ops.DepthwiseConv2d: _depthwise,
    ops.TransposeConv2d: _transposed,
    ops.FullyConnected: _rows,
}
