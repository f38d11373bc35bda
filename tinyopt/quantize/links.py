"""Pairs of layers between which a factor per channel can be moved without changing what the network computes.

The first layer's output channel is divided by the factor, the second layer's weights for that channel are multiplied by
it. That is exact where everything between them commutes with positive factors: ReLU, pooling, moves of elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tinyopt.graph import Array, Graph, Operator, Tensor, ops
from tinyopt.quantize.layers import output_axis

_FIRST = (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected)
_SECOND = (ops.Conv2d, ops.DepthwiseConv2d, ops.FullyConnected)


@dataclass(frozen=True)
class Link:
    """``first`` and ``second``: operators; ``channels``: the output channels of the first."""

    first: Operator
    second: Operator
    channels: int


def own_biases(graph: Graph) -> Graph:
    """The graph with a bias of its own for every layer; equal ones may be one constant."""
    added: list[Tensor] = []
    operators = []
    for operator in graph.operators:
        if isinstance(operator.attributes, _FIRST) and len(operator.inputs) > 2:
            bias = graph.tensors[operator.inputs[2]]
            if bias.is_constant and len(graph.consumers[bias.name]) > 1:
                name = graph.fresh_name(f"{bias.name}_{operator.name}", [t.name for t in added])
                added.append(replace(bias, name=name))
                operator = replace(operator, inputs=(*operator.inputs[:2], name))
        operators.append(operator)
    return graph.with_operators(operators, added) if added else graph


def links(graph: Graph) -> tuple[list[Link], list[str]]:
    """All pairs in the order of the graph, and for each layer that begins none: why."""
    found: list[Link] = []
    notes: list[str] = []
    for operator in graph.operators:
        if not isinstance(operator.attributes, _FIRST):
            continue
        second = _follow(graph, operator)
        if isinstance(second, str):
            notes.append(f"'{operator.name}': {second}")
        else:
            found.append(Link(operator, second, graph.outs(operator)[0].shape[-1]))
    return found, notes


def _follow(graph: Graph, first: Operator) -> Operator | str:
    """The layer that alone reads what ``first`` writes, or why there is none."""
    clamp = getattr(first.attributes, "activation", ops.NONE)
    if clamp not in (ops.NONE, ops.RELU):
        return f"its activation {clamp} does not commute with factors"
    if any(not t.is_constant for t in graph.ins(first)[1:]) or len(graph.consumers[first.inputs[1]]) > 1:
        return "its weights are computed, or shared with another layer"
    operator = first
    while True:
        (name,) = operator.outputs
        readers = graph.consumers.get(name, ())
        if name in graph.kept:
            return "its result leaves the network"
        if len(readers) != 1:
            return f"its result is read by {len(readers)} operators"
        operator = readers[0]
        a = operator.attributes
        if isinstance(a, _SECOND):
            if operator.inputs[0] != name or not graph.ins(operator)[1].is_constant:
                return f"'{operator.name}' reads it as weights"
            if len(graph.consumers[operator.inputs[1]]) > 1:
                return f"the weights of '{operator.name}' are shared with another layer"
            channels = graph.outs(first)[0].shape[-1]
            dense = not isinstance(a, ops.DepthwiseConv2d) and getattr(a, "groups", 1) == 1
            if graph.tensors[name].shape[-1] != channels and not dense:
                return f"'{operator.name}' groups its channels in another way"
            return operator
        if not _transparent(graph, operator):
            return f"'{operator.name}' ({operator.kind}) behind it does not commute with factors of channels"


def _transparent(graph: Graph, operator: Operator) -> bool:
    """Whether positive factors of channels pass an operator, channel c staying c modulo the number of channels."""
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    if isinstance(a, (ops.MaxPool2d, ops.AveragePool2d)):
        return getattr(a, "activation", ops.NONE) in (ops.NONE, ops.RELU)
    if isinstance(a, ops.Clip):
        return a.clamp == ops.RELU
    if isinstance(a, ops.Pad):
        return a.before[-1] == a.after[-1] == 0 and (a.mode is not ops.PadMode.CONSTANT or a.value == 0.0)
    if isinstance(a, ops.Reduce):
        kinds = (ops.ReduceKind.MEAN, ops.ReduceKind.SUM, ops.ReduceKind.MAX)
        return a.op in kinds and len(x.shape) - 1 not in {axis % len(x.shape) for axis in a.axes}
    return isinstance(a, ops.Reshape) and y.shape[-1] % x.shape[-1] == 0


def output_ranges(graph_weights: Array, operator: Operator) -> Array:
    """Largest magnitude of the weights of each output channel."""
    axes = tuple(i for i in range(graph_weights.ndim) if i != output_axis(operator))
    result: Array = np.abs(graph_weights).max(axes)
    return result


def input_view(weights: Array, operator: Operator, channels: int) -> Array:
    """The weights of a layer as [input channels, …], a copy: all that multiply each channel of its input."""
    a = operator.attributes
    if isinstance(a, ops.DepthwiseConv2d):
        moved = np.moveaxis(weights, 3, 0)
    elif isinstance(a, ops.Conv2d) and a.groups > 1:
        moved = np.moveaxis(weights.reshape(a.groups, -1, *weights.shape[1:]), -1, 1)
    else:  # the inputs of a dense layer behind a flattened image are its channels, again and again
        moved = np.moveaxis(weights.reshape(weights.shape[0], -1, channels), -1, 0)
    return moved.reshape(channels, -1)


def scaled_inputs(weights: Array, operator: Operator, factors: Array) -> Array:
    """The weights with all that multiply input channel c multiplied by ``factors[c]``."""
    a = operator.attributes
    if isinstance(a, ops.DepthwiseConv2d):
        scaled = weights * np.repeat(factors, a.multiplier)
    elif isinstance(a, ops.Conv2d) and a.groups > 1:
        scaled = weights.reshape(a.groups, -1, *weights.shape[1:]) * factors.reshape(a.groups, 1, 1, 1, -1)
    else:
        scaled = weights.reshape(weights.shape[0], -1, len(factors)) * factors
    result: Array = scaled.reshape(weights.shape)
    return result


def scaled_outputs(values: Array, operator: Operator, factors: Array) -> Array:
    """Weights, or a bias, with output channel c multiplied by ``factors[c]``."""
    if values.ndim == 1 or isinstance(operator.attributes, ops.DepthwiseConv2d):
        return values * factors
    return values * factors.reshape(-1, *[1] * (values.ndim - 1))


def move_factors(graph: Graph, constants: dict[str, Array], link: Link, factors: Array) -> None:
    """Divide the first layer's channels by ``factors`` and multiply the second layer's weights by them.

    ``constants``: tensor name → float64 value; changed in place. Names that are missing are taken from the graph.
    """

    def value(name: str) -> Array:
        return constants.get(name, graph.tensors[name].value).astype(np.float64)

    for name in link.first.inputs[1:]:
        constants[name] = scaled_outputs(value(name), link.first, 1.0 / factors)
    name = link.second.inputs[1]
    constants[name] = scaled_inputs(value(name), link.second, factors)


def with_constants(graph: Graph, constants: Mapping[str, Array]) -> Graph:
    """The graph with new values for some of its float constants."""
    tensors = dict(graph.tensors)
    for name, value in constants.items():
        old: Tensor = tensors[name]
        tensors[name] = replace(old, data=value.astype(np.float32))
    return replace(graph, tensors=tensors)
