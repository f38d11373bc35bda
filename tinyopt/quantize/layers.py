"""The layers with weights of a float graph, and which format the weights of each take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np

from tinyopt.errors import DataError
from tinyopt.graph import DType, Graph, Operator, ops
from tinyopt.quantize.weights import WeightFormat

LAYERS = (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected)
"""Layers of one weight tensor (input 1) and perhaps a bias (input 2)."""
_WEIGHTED = (*LAYERS, ops.Lstm, ops.Gru)


def weighted_layers(operators: Sequence[Operator]) -> list[Operator]:
    """The operators with weights, in order."""
    return [operator for operator in operators if isinstance(operator.attributes, _WEIGHTED)]


def output_axis(operator: Operator) -> int:
    """The axis of the output channels in a layer's weights."""
    return 3 if isinstance(operator.attributes, ops.DepthwiseConv2d) else 0


def binary_layers(graph: Graph, operators: Sequence[Operator]) -> tuple[str, ...]:
    """The layers in ``operators`` whose float weights are binary already: -a and a, with one a for each output channel.

    Equal up to float32 rounding, as batch norms that were folded leave it.
    """
    found = []
    for operator in operators:
        if not isinstance(operator.attributes, LAYERS):
            continue
        weights = graph.tensors[operator.inputs[1]]
        if not weights.is_constant or weights.dtype is not DType.FLOAT32:
            continue
        rows = np.abs(
            np.moveaxis(weights.value, output_axis(operator), 0).reshape(weights.shape[output_axis(operator)], -1)
        )
        if rows.size and rows.max() > 0 and bool((rows.max(1) - rows.min(1) <= 1e-5 * rows.max(1)).all()):
            found.append(operator.name)
    return tuple(found)


def layer_formats(
    graph: Graph,
    operators: Sequence[Operator],
    weights: WeightFormat,
    edges: WeightFormat | None,
    overrides: Mapping[str, WeightFormat],
) -> dict[str, WeightFormat]:
    """Layer → the format of its weights.

    ``operators``: those that become integer. ``edges``: what the first and the last layer have instead of ``weights``
    where that is the wider one. ``overrides``: by the operator's name, or a pattern with ``*``.

    Raises:
        DataError: when an override names no layer; the message lists the layers.
    """
    names = [operator.name for operator in weighted_layers(operators)]
    result = dict.fromkeys(names, weights)
    if edges is not None and edges.bits > weights.bits and names:
        result[names[0]] = result[names[-1]] = edges
    plain = {pattern: form for pattern, form in overrides.items() if pattern in result}
    for pattern, form in overrides.items():
        if pattern in plain:
            continue
        found = [name for name in names if fnmatchcase(name, pattern)]
        if not found:
            listed = ", ".join(names) or "none"
            raise DataError(f"no quantized layer of '{graph.name}' is called '{pattern}'; its layers are: {listed}")
        result.update(dict.fromkeys(found, form))
    result.update(plain)
    return result
