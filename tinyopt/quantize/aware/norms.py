"""Batch norms that are trained while the layers before them are quantized with them folded in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.optimise import optimise
from tinyopt.optimise.activations import fuse_activations
from tinyopt.optimise.batch_norm import fold_batch_norm
from tinyopt.optimise.duplicates import merge_duplicates
from tinyopt.optimise.optimise import DEFAULT
from tinyopt.quantize.layers import LAYERS, output_axis


@dataclass(frozen=True, eq=False)
class Structure:
    """``trained``: the graph that is trained. ``norms``: layer → the batch norm behind it, for those that keep one.
    ``note``: why batch norms were folded although they should not have been, or None."""

    trained: Graph
    norms: dict[str, Operator]
    note: str | None = None


_TRAINED = tuple(change for change in DEFAULT if change is not merge_duplicates)
"""Constants that are equal at the start, as biases of zero often are, do not stay so in training."""


def structure(graph: Graph, *, train_batch_norm: bool) -> Structure:
    """The optimised graph; with its batch norms where they are to be trained and each belongs to a layer before it."""
    if not train_batch_norm or not any(isinstance(o.attributes, ops.BatchNorm) for o in graph.operators):
        return Structure(optimise(graph, passes=_TRAINED), {})
    kept = optimise(graph, passes=[change for change in _TRAINED if change is not fold_batch_norm])
    norms: dict[str, Operator] = {}
    for operator in kept.operators:
        if not isinstance(operator.attributes, ops.BatchNorm):
            continue
        layer = kept.producers.get(operator.inputs[0])
        if layer is None or not _belongs(kept, operator, layer):
            note = (
                f"the batch norm '{operator.name}' has no layer of its own before it: all were folded before training"
            )
            return Structure(optimise(graph, passes=_TRAINED), {}, note)
        norms[layer.name] = operator
    if not _folds_as_expected(kept, norms):
        return Structure(
            optimise(graph, passes=_TRAINED), {}, "batch norms were folded before training: a layer has two of them"
        )
    return Structure(kept, norms)


def folded(graph: Graph) -> Graph:
    """A graph of ``structure`` without its batch norms: layers with their weights times the channel factors."""
    return optimise(graph, passes=(fold_batch_norm, fuse_activations))


def channel_factors(graph: Graph, norm: Operator) -> Array:
    """What a batch norm multiplies each channel with, float64 [channels]."""
    assert isinstance(norm.attributes, ops.BatchNorm)
    gamma, _, _, variance = (t.value.astype(np.float64) for t in graph.ins(norm)[1:])
    result: Array = gamma / np.sqrt(variance + norm.attributes.epsilon)
    return result


def _belongs(graph: Graph, norm: Operator, layer: Operator) -> bool:
    a = layer.attributes
    return (
        isinstance(a, LAYERS)
        and a.activation == ops.NONE
        and graph.consumers.get(norm.inputs[0], ()) == (norm,)
        and norm.inputs[0] not in graph.outputs
        and all(t.is_constant for t in (*graph.ins(norm)[1:], *graph.ins(layer)[1:]))
        and len(graph.consumers.get(layer.inputs[1], ())) == 1
    )


def _folds_as_expected(graph: Graph, norms: dict[str, Operator]) -> bool:
    """Whether folding gives every layer its own weights times the factors, and nothing else."""
    after = folded(graph)
    layers = {o.name: o for o in after.operators if isinstance(o.attributes, LAYERS)}
    for operator in graph.operators:
        if not isinstance(operator.attributes, LAYERS):
            continue
        now = layers.pop(operator.name, None)
        if now is None:
            return False
        weights = graph.tensors[operator.inputs[1]].value.astype(np.float64)
        norm = norms.get(operator.name)
        if norm is not None:
            shape = [1] * weights.ndim
            shape[output_axis(operator)] = -1
            weights = weights * channel_factors(graph, norm).reshape(shape)
        found = after.tensors[now.inputs[1]].value
        if found.shape != weights.shape or not np.allclose(found, weights, rtol=1e-5, atol=1e-7):
            return False
    activations = {name for o in after.operators for name in o.outputs}
    return not layers and activations <= {name for o in graph.operators for name in o.outputs}
