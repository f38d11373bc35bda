"""Layers that can be factorized, and how a chain of smaller ones takes a layer's place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tinyopt.graph import Array, DType, Graph, GraphBuilder, Operator, Tensor, infer_shapes, ops
from tinyopt.graph.ops import Attributes

Dense: TypeAlias = "ops.Conv2d | ops.FullyConnected"


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution or fully connected layer with constant float weights.

    ``weights``: float64 [O, KH, KW, C], KH = KW = 1 for fully connected layers. ``bias``: the name of its tensor.
    """

    operator: Operator
    attributes: Dense
    weights: Array
    bias: str | None
    input_shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.operator.name

    @property
    def is_pointwise(self) -> bool:
        """A matrix per pixel: fully connected or 1x1."""
        return self.weights.shape[1:3] == (1, 1)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return int(self.weights.size)


@dataclass(frozen=True, eq=False)
class Step:
    """One operator of a chain: it reads the one before and these constants (arrays to store, or names)."""

    suffix: str
    attributes: Attributes
    constants: tuple[Array | str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of new constants' elements."""
        return sum(c.size for c in self.constants if not isinstance(c, str))


Chain: TypeAlias = tuple[Step, ...]


def layer_of(graph: Graph, operator: Operator) -> Layer | str | None:
    """The layer that an operator is; why it cannot be factorized; None for operators without products."""
    a = operator.attributes
    if isinstance(a, ops.DepthwiseConv2d):
        return "a depthwise convolution has one small filter per channel, nothing to share between channels"
    if isinstance(a, ops.TransposeConv2d):
        return "transposed convolutions are not factorized"
    if isinstance(a, (ops.Lstm, ops.Gru)):
        return "recurrent layers are not factorized"
    if not isinstance(a, (ops.Conv2d, ops.FullyConnected)):
        return None
    if isinstance(a, ops.Conv2d) and a.groups != 1:
        return f"its {a.groups} groups are a factorization already"
    tensor = graph.tensors[operator.inputs[1]]
    if not tensor.is_constant:
        return "its weights are computed, not constant"
    if len(graph.consumers[tensor.name]) > 1:
        return "its weights are shared with other layers"
    shape = tensor.shape
    weights = tensor.value.astype(np.float64).reshape(shape if len(shape) == 4 else (shape[0], 1, 1, shape[1]))
    if not weights.any():
        return "all its weights are zero"
    bias = operator.inputs[2] if len(operator.inputs) == 3 else None
    return Layer(operator, a, weights, bias, graph.tensors[operator.inputs[0]].shape)


def install(graph: Graph, chains: Mapping[str, Chain]) -> Graph:
    """The graph with chains in the place of operators (by name). The last step keeps the name of the output tensor, so
    everything else stays as it was; the new tensors and operators are named after the layer and the step."""
    taken = set(graph.tensors)
    new: list[Tensor] = []
    operators: list[Operator] = []

    def fresh(stem: str) -> str:
        name = graph.fresh_name(stem, taken)
        taken.add(name)
        return name

    for operator in graph.operators:
        if operator.name not in chains:
            operators.append(operator)
            continue
        current, shape = operator.inputs[0], graph.tensors[operator.inputs[0]].shape
        steps = chains[operator.name]
        for index, step in enumerate(steps):
            names, shapes = [current], [shape]
            for constant in step.constants:
                if isinstance(constant, str):
                    names.append(constant)
                    shapes.append(graph.tensors[constant].shape)
                    continue
                name = fresh(f"{operator.name}/{step.suffix}/weights")
                new.append(Tensor.constant(name, constant.astype(np.float32)))
                names.append(name)
                shapes.append(tuple(constant.shape))
            (shape,) = infer_shapes(step.attributes, shapes)
            if index == len(steps) - 1:
                current = operator.outputs[0]
            else:
                current = fresh(f"{operator.name}/{step.suffix}")
                new.append(Tensor(current, shape, DType.FLOAT32))
            operators.append(Operator(f"{operator.name}/{step.suffix}", step.attributes, tuple(names), (current,)))
    return graph.with_operators(_unique(operators), new)


def alone(graph: Graph, operator: Operator, chain: Chain | None = None) -> Graph:
    """One layer as a graph of its own, as it is or as a chain: what a candidate costs is worked out on it."""
    builder = GraphBuilder(operator.name)
    x = graph.tensors[operator.inputs[0]]
    names = [builder.input(x.name, x.shape, x.dtype)]
    names += [builder.constant(t.name, t.value) for t in graph.ins(operator)[1:]]
    builder.output(builder.add(operator.attributes, names, name=operator.name, output=operator.outputs[0]))
    single = builder.build()
    return single if chain is None else install(single, {operator.name: chain})


# ---- chains ----------------------------------------------------------------------------------------------------


def pointwise_chain(layer: Layer, left: Array, right: Array) -> Chain:
    """A fully connected layer or a 1x1 convolution as two: ``left`` [O, R] after ``right`` [R, C]."""
    a = layer.attributes
    if isinstance(a, ops.FullyConnected):
        return (
            Step("reduce", ops.FullyConnected(), (right,)),
            Step("expand", a, _with_bias(layer, left)),
        )
    # Stride and padding come first: a padded zero stays zero without a bias, and fewer pixels are cheaper.
    first = replace(a, activation=ops.NONE)
    return (
        Step("reduce", first, (right[:, None, None],)),
        Step("expand", ops.Conv2d(activation=a.activation), _with_bias(layer, left[:, None, None])),
    )


def convolutions(layer: Layer, parts: Iterable[tuple[str, Array, bool]]) -> Chain:
    """A convolution as a chain of convolutions without bias but for the last: (suffix, weights, depthwise).

    Weights are [O, KH, KW, C], or [1, KH, KW, C] where depthwise. A step of KH (or KW) rows more than one takes
    stride, padding and dilation of that axis; where no step has more than one, the first takes them.
    """
    a = layer.attributes
    assert isinstance(a, ops.Conv2d)
    steps = list(parts)
    rows = next((i for i, (_, w, _) in enumerate(steps) if w.shape[1] > 1), None)
    columns = next((i for i, (_, w, _) in enumerate(steps) if w.shape[2] > 1), None)
    rows = rows if rows is not None else (columns or 0)
    columns = columns if columns is not None else rows
    chain = []
    for index, (suffix, weights, depthwise) in enumerate(steps):
        last = index == len(steps) - 1
        vertical, horizontal = index == rows, index == columns
        padding = ops.Padding(
            a.padding.top if vertical else 0,
            a.padding.bottom if vertical else 0,
            a.padding.left if horizontal else 0,
            a.padding.right if horizontal else 0,
        )
        stride = (a.stride[0] if vertical else 1, a.stride[1] if horizontal else 1)
        dilation = (a.dilation[0] if vertical else 1, a.dilation[1] if horizontal else 1)
        activation = a.activation if last else ops.NONE
        constants = _with_bias(layer, weights) if last else (weights,)
        attributes: Attributes
        if depthwise:
            attributes = ops.DepthwiseConv2d(stride, padding, dilation, activation=activation)
        else:
            attributes = ops.Conv2d(stride, padding, dilation, activation=activation)
        chain.append(Step(suffix, attributes, constants))
    return tuple(chain)


def dense_train_chain(layer: Layer, cores: list[Array]) -> Chain:
    """A fully connected layer as a train of small ones (Novikov et al. 2015).

    ``cores``: [r(k-1), ok, ik, rk] for the input index i = (i1, …, id) and the output index o = (od, …, o1), both row
    by row. Every core is a small fully connected layer over the last axes; between two, one axis moves.
    """
    a = layer.attributes
    assert isinstance(a, ops.FullyConnected)
    *outer, left = layer.input_shape
    rows, done = math.prod(outer), 1
    chain: list[Step] = []
    for number in range(len(cores), 0, -1):
        before, o, i, after = cores[number - 1].shape
        left //= i
        # x [rows, done, left, i * after] → [rows, done, left, o * before] → [rows, done * o, left, before]
        chain.append(Step(f"fold_{number}", ops.Reshape((rows, done, left, i * after))))
        weights = cores[number - 1].transpose(1, 0, 2, 3).reshape(o * before, i * after)
        chain.append(Step(f"core_{number}", ops.FullyConnected(), (weights,)))
        if left > 1:
            chain.append(Step(f"split_{number}", ops.Reshape((rows, done, left, o, before))))
            chain.append(Step(f"swap_{number}", ops.Transpose((0, 1, 3, 2, 4))))
        done *= o
    chain.append(Step("join", ops.Reshape((*outer, done))))
    if layer.bias is not None:
        chain.append(Step("bias", ops.Binary(ops.BinaryKind.ADD, a.activation), (layer.bias,)))
    elif a.activation != ops.NONE:
        chain.append(Step("clamp", ops.Clip(a.activation)))
    return tuple(chain)


def _with_bias(layer: Layer, weights: Array) -> tuple[Array | str, ...]:
    return (weights,) if layer.bias is None else (weights, layer.bias)


def _unique(operators: list[Operator]) -> list[Operator]:
    """Operators with names that differ."""
    taken: set[str] = set()
    result = []
    for operator in operators:
        name, number = operator.name, 0
        while name in taken:
            number += 1
            name = f"{operator.name}_{number}"
        taken.add(name)
        result.append(operator if name == operator.name else replace(operator, name=name))
    return result
