"""What could be done to one layer, as a change of its float weights alone: to see what the rest of the network bears.

A trial returns the weights as the technique would leave them; the layer's inputs, and all other layers, stay float. So
its effect is the layer's own, and a trial costs one run over the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from tinyopt.errors import TinyoptError
from tinyopt.graph import Array, Graph, Operator, Tensor, ops
from tinyopt.quantize.layers import output_axis
from tinyopt.quantize.parameters import weight_rows
from tinyopt.quantize.weights import WeightFormat

Family: TypeAlias = Literal["quantize", "sparse", "channels", "factorize"]
LAYERS = (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected)


@dataclass(frozen=True)
class Quantized:
    """The weights in a format."""

    form: WeightFormat
    family = "quantize"

    def __str__(self) -> str:
        return f"weights {self.form}"

    def applied(self, graph: Graph, operator: Operator) -> Graph | str:
        if str(self.form) == "binary" and isinstance(operator.attributes, ops.DepthwiseConv2d):
            return "a depthwise layer has too few weights a channel for binary ones"
        weights = graph.tensors[operator.inputs[1]]
        rows, restore = weight_rows(weights.value, output_axis(operator))
        integers, scales = self.form.integers(rows)
        return with_constants(graph, {weights.name: restore(integers * scales[:, None])})


@dataclass(frozen=True)
class Sparse:
    """The smallest share of the weights is zero."""

    share: float
    family = "sparse"

    def __str__(self) -> str:
        return f"prune {self.share:.0%} of the weights"

    def applied(self, graph: Graph, operator: Operator) -> Graph | str:
        weights = graph.tensors[operator.inputs[1]]
        count = int(self.share * weights.size)
        if count == 0:
            return "it has too few weights"
        values = weights.value.copy().reshape(-1)
        values[np.argsort(np.abs(values), kind="stable")[:count]] = 0.0
        return with_constants(graph, {weights.name: values.reshape(weights.shape)})


@dataclass(frozen=True)
class Channels:
    """The output channels of smallest L2 norm are zero, with their biases: what structured pruning removes."""

    share: float
    family = "channels"

    def __str__(self) -> str:
        return f"prune {self.share:.0%} of the channels"

    def applied(self, graph: Graph, operator: Operator) -> Graph | str:
        if operator.outputs[0] in graph.kept:
            return "its channels are outputs of the network"
        weights = graph.tensors[operator.inputs[1]]
        axis = output_axis(operator)
        rows, restore = weight_rows(weights.value, axis)
        count = int(self.share * len(rows))
        if count == 0:
            return "it has too few channels"
        gone = np.argsort(np.square(rows).sum(1), kind="stable")[:count]
        rows = rows.copy()
        rows[gone] = 0.0
        changed = {weights.name: restore(rows)}
        if len(operator.inputs) > 2:
            bias = graph.tensors[operator.inputs[2]]
            values = bias.value.copy().reshape(-1)
            values[gone] = 0.0
            changed[bias.name] = values.reshape(bias.shape)
        return with_constants(graph, changed)


@dataclass(frozen=True)
class Factorized:
    """The layer as a product of smaller ones that keep a share of the energy of its weights."""

    energy: float
    family = "factorize"

    def __str__(self) -> str:
        return f"factorize, {self.energy:.0%} of the energy"

    def applied(self, graph: Graph, operator: Operator) -> Graph | str:
        from tinyopt.compress.factorize import Energy, Factorization, LayerChoice, explain

        others: Mapping[str, LayerChoice | None] = {
            o.name: None for o in graph.operators if o is not operator and isinstance(o.attributes, LAYERS)
        }
        try:
            changed, report = explain(graph, Factorization(rule=Energy(self.energy), layers=others))
        except TinyoptError as error:
            return str(error)
        reasons = [row.reason for row in report.left if row.name == operator.name]
        return reasons[0] if reasons else changed


Technique: TypeAlias = "Quantized | Sparse | Channels | Factorized"


def with_constants(graph: Graph, values: Mapping[str, Array]) -> Graph:
    """The graph with other values of constants."""
    tensors: dict[str, Tensor] = dict(graph.tensors)
    for name, value in values.items():
        tensors[name] = replace(tensors[name], data=np.ascontiguousarray(value, tensors[name].dtype.numpy))
    return replace(graph, tensors=tensors)


def weighted(graph: Graph) -> list[Operator]:
    """The layers that trials apply to: constant weights of their own, float."""
    return [
        operator
        for operator in graph.operators
        if isinstance(operator.attributes, LAYERS) and graph.tensors[operator.inputs[1]].is_constant
    ]


Progress: TypeAlias = Callable[[str, int, int], None]
