"""What removed channels gave on average goes on: into the biases of the layers that read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tinyopt.compress.prune.coupling import Coupling, Cut, Role
from tinyopt.compress.prune.scores import Measured
from tinyopt.compress.prune.tracing import trace
from tinyopt.graph import Array, Graph, Operator, Tensor, ops

_BIAS: dict[type[ops.Attributes], int] = {ops.Conv2d: 2, ops.FullyConnected: 2, ops.Lstm: 3, ops.Gru: 3}
"""Layers whose bias can take up a constant input, with the position of the bias."""


def mean_inputs(coupling: Coupling, measured: Measured) -> dict[str, Array]:
    """Activation that a layer reads by channels → the mean of every index along its channel axis, over the data."""
    names = [operator.inputs[0] for _, operator in _columns(coupling)]
    moments = measured.moments(names)
    result = {}
    for name in dict.fromkeys(names):
        axis = coupling.labels[name].axis
        field = moments[name][3]
        result[name] = np.moveaxis(field, axis, 0).reshape(field.shape[axis], -1).mean(1)
    return result


def _columns(coupling: Coupling) -> list[tuple[Cut, Operator]]:
    operators = {operator.name: operator for operator in coupling.graph.operators}
    found = []
    for cut in coupling.cuts:
        operator = operators[cut.operator]
        grouped = isinstance(operator.attributes, ops.Conv2d) and operator.attributes.groups > 1
        if cut.role is Role.COLUMN and cut.position == 1 and type(operator.attributes) in _BIAS and not grouped:
            found.append((cut, operator))
    return found


def compensated(coupling: Coupling, removed: frozenset[int], means: Mapping[str, Array]) -> Coupling:
    """The same network with the mean of the removed channels, times the weights that read them, added to biases.

    Exact for a channel that is constant, but for the border of a padded convolution. Groups keep their numbers.
    """
    graph = coupling.graph
    tensors: dict[str, Tensor] = {}
    changed: dict[str, Operator] = {}
    for cut, operator in _columns(coupling):
        gone = coupling.gone(cut.atoms, removed)
        if not gone.any():
            continue
        weights = graph.tensors[operator.inputs[1]].value.astype(np.float64)
        columns = np.moveaxis(weights, cut.axis, -1)
        sums = columns.reshape(columns.shape[0], -1, columns.shape[-1]).sum(1)
        position = _BIAS[type(operator.attributes)]
        inputs = list(operator.inputs)
        old = graph.tensors[inputs[position]].value if position < len(inputs) else np.zeros(len(sums), np.float32)
        value = (old + sums[:, gone] @ means[inputs[0]][gone]).astype(np.float32)
        shared = position >= len(inputs) or len(graph.consumers[inputs[position]]) > 1
        name = graph.fresh_name(f"{operator.name}_bias", tensors) if shared else inputs[position]
        tensors[name] = Tensor.constant(name, value)
        inputs[position:] = [name, *inputs[position + 1 :]]
        changed[operator.name] = replace(operator, inputs=tuple(inputs))
    if not changed:
        return coupling
    operators = [changed.get(operator.name, operator) for operator in graph.operators]
    new: Graph = graph.with_operators(operators, tensors.values())
    return trace(new)
