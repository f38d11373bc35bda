"""What removed channels gave goes on: its mean into the biases of the layers that read them, or its linear prediction
from the channels that stay into their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tinyopt.compress.prune.coupling import Coupling, Cut, Role
from tinyopt.compress.prune.scores import Measured
from tinyopt.compress.prune.tracing import trace
from tinyopt.graph import Array, Graph, Operator, Tensor, ops

_BIAS: dict[type[ops.Attributes], int] = {ops.Conv2d: 2, ops.FullyConnected: 2, ops.Lstm: 3, ops.Gru: 3}
"""Layers whose bias can take up a constant input, with the position of the bias."""

MOST_CHANNELS = 1024
"""A layer that reads more than these (flattened images) gets means only: predictions take their cube."""
RIDGE = 1e-4
"""Of the predictions, as a share of the mean variance: channels that follow each other exactly are no obstacle."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of an activation along its channel axis: means [C], covariances [C, C] or None where means are to be used."""

    mean: Array
    covariance: Array | None = None

    def prediction(self, gone: Array) -> tuple[Array, Array]:
        """The channels of ``gone`` (bool [C]) from the others: matrix [gone, kept] and constants [gone]."""
        kept = ~gone
        if self.covariance is None or not kept.any():
            return np.zeros((int(gone.sum()), int(kept.sum()))), self.mean[gone]
        own = self.covariance[np.ix_(kept, kept)]
        ridge = RIDGE * float(np.trace(own)) / len(own) + 1e-30
        matrix = np.linalg.solve(own + ridge * np.eye(len(own)), self.covariance[np.ix_(kept, gone)]).T
        return matrix, self.mean[gone] - matrix @ self.mean[kept]


def input_statistics(coupling: Coupling, measured: Measured, kind: Literal["mean", "linear"]) -> dict[str, Statistics]:
    """Activation that a layer reads by channels → its statistics over the data."""
    names = dict.fromkeys(operator.inputs[0] for _, operator in _columns(coupling))
    axes = {name: coupling.labels[name].axis for name in names}
    sizes = {name: coupling.graph.tensors[name].shape[axis] for name, axis in axes.items()}
    related = {name: axis for name, axis in axes.items() if kind == "linear" and sizes[name] <= MOST_CHANNELS}
    result = {n: Statistics(mean, covariance) for n, (mean, covariance) in measured.covariances(related).items()}
    rest = [name for name in names if name not in related]
    moments = measured.moments(rest) if rest else {}
    for name in rest:
        field = moments[name][3]
        result[name] = Statistics(np.moveaxis(field, axes[name], 0).reshape(sizes[name], -1).mean(1))
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


def compensated(coupling: Coupling, removed: frozenset[int], statistics: Mapping[str, Statistics]) -> Coupling:
    """The same network in which the layers that read ``removed`` have what these channels gave in their biases (and,
    where covariances are known, in their other weights). What they read of the channels themselves is left, for the
    cut. Groups keep their numbers.

    Exact for channels that are constant, or linear in the ones that stay, but for the border of a padded convolution.
    """
    graph = coupling.graph
    tensors: dict[str, Tensor] = {}
    changed: dict[str, Operator] = {}
    for cut, operator in _columns(coupling):
        gone = coupling.gone(cut.atoms, removed)
        if not gone.any():
            continue
        matrix, constants = statistics[operator.inputs[0]].prediction(gone)
        weights = graph.tensors[operator.inputs[1]].value.astype(np.float64)
        columns = np.moveaxis(weights, cut.axis, -1).copy()
        sums = columns[..., gone].reshape(len(columns), -1, int(gone.sum())).sum(1)
        position = _BIAS[type(operator.attributes)]
        inputs = list(operator.inputs)
        old = graph.tensors[inputs[position]].value if position < len(inputs) else np.zeros(len(sums), np.float32)
        _put(graph, tensors, operator, inputs, position, old + sums @ constants)
        if matrix.any():
            columns[..., ~gone] += columns[..., gone] @ matrix
            _put(graph, tensors, operator, inputs, 1, np.moveaxis(columns, -1, cut.axis))
        changed[operator.name] = replace(operator, inputs=tuple(inputs))
    if not changed:
        return coupling
    operators = [changed.get(operator.name, operator) for operator in graph.operators]
    new: Graph = graph.with_operators(operators, tensors.values())
    return trace(new)


def _put(
    graph: Graph, tensors: dict[str, Tensor], operator: Operator, inputs: list[str], position: int, value: Array
) -> None:
    """A new value for one input; under a new name where others read the old one."""
    what = "weights" if position == 1 else "bias"
    shared = position >= len(inputs) or len(graph.consumers[inputs[position]]) > 1
    name = graph.fresh_name(f"{operator.name}_{what}", tensors) if shared else inputs[position]
    tensors[name] = Tensor.constant(name, np.ascontiguousarray(value, np.float32))
    inputs[position:] = [name, *inputs[position + 1 :]]
