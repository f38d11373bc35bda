"""Which single weights stay: masks from importance, as whole patterns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tinyopt.compress.prune.config import BlockPruning, NMPruning, UnstructuredPruning, WeightPruning
from tinyopt.compress.prune.scores import LAYERS, weight_readers
from tinyopt.graph import Array, Graph, Operator, ops

Masks = dict[str, Array]
"""Constant → bool of its shape: True stays."""


def prunable_weights(graph: Graph, config: WeightPruning) -> tuple[str, ...]:
    """The weights that a configuration applies to."""
    found = weight_readers(graph, config.skip, config.layers)
    if isinstance(config, NMPruning):
        return tuple(
            name
            for name, (operator, position) in found.items()
            if as_rows(operator, position, graph.tensors[name].value).shape[1] >= config.m
            and not isinstance(operator.attributes, ops.DepthwiseConv2d)
        )
    return tuple(found)


def choose_masks(graph: Graph, config: WeightPruning, scores: Mapping[str, Array]) -> Masks:
    """Masks for the weights in ``scores`` (importance per element, higher stays).

    Ties are decided by position, so that the same scores give the same masks. Weights that score -inf go first.
    """
    places = weight_readers(graph)
    if isinstance(config, NMPruning):
        pattern = config
        return {
            n: _in_rows(*places[n], s, lambda rows: _best_of_m(rows, pattern.n, pattern.m)) for n, s in scores.items()
        }
    if isinstance(config, UnstructuredPruning):
        flat = {name: s.reshape(-1) for name, s in scores.items()}
        keeps = _lowest_go(flat, {name: np.ones(s.size, np.int64) for name, s in flat.items()}, config)
        return {name: keep.reshape(scores[name].shape) for name, keep in keeps.items()}
    means, counts, blocks = {}, {}, {}
    for name, s in scores.items():
        rows = as_rows(*places[name], s)
        blocks[name] = block_numbers(rows.shape, config.shape)
        counts[name] = np.bincount(blocks[name].reshape(-1))
        means[name] = np.bincount(blocks[name].reshape(-1), rows.reshape(-1)) / counts[name]
    keeps = _lowest_go(means, counts, config)
    result: Masks = {}
    for name, s in scores.items():
        spread = keeps[name][blocks[name]]
        result[name] = from_rows(*places[name], spread, s.shape)
    return result


def masks_of(graph: Graph) -> Masks:
    """Masks that keep the zeros of a pruned graph: weights of layers that hold any."""
    found: Masks = {}
    for name in weight_readers(graph):
        value = graph.tensors[name].value
        if (value == 0).any():
            found[name] = value != 0
    return found


def _lowest_go(
    scores: Mapping[str, Array], sizes: Mapping[str, Array], config: UnstructuredPruning | BlockPruning
) -> Masks:
    """Keep flags per item [items]: the least important go until the amount (in weights, not in items) is reached."""
    keeps = {name: np.ones(len(s), bool) for name, s in scores.items()}
    if config.scope == "layer":
        for name, s in scores.items():
            total = int(sizes[name].sum())
            share = min(config.amount, config.layer_limit)
            order = np.argsort(s, kind="stable")
            keeps[name][order[_first(sizes[name][order], share * total)]] = False
        return keeps
    if not scores:
        return keeps
    names = list(scores)
    owner = np.concatenate([np.full(len(scores[name]), index) for index, name in enumerate(names)])
    place = np.concatenate([np.arange(len(scores[name])) for name in names])
    weight = np.concatenate([sizes[name] for name in names])
    order = np.argsort(np.concatenate([scores[name] for name in names]), kind="stable")
    wanted = config.amount * int(weight.sum())
    allowed = np.ones(len(order), bool)
    for index, name in enumerate(names):
        mine = np.flatnonzero(owner[order] == index)
        inside = _first(sizes[name][place[order[mine]]], config.layer_limit * int(sizes[name].sum()))
        allowed[mine[~inside]] = False
    order = order[allowed]
    for item in order[_first(weight[order], wanted)]:
        keeps[names[owner[item]]][place[item]] = False
    return keeps


def _first(sizes: Array, wanted: float) -> Array:
    """bool: the items from the start whose sizes together come closest to ``wanted`` without exceeding it by more
    than rounding."""
    result: Array = np.cumsum(sizes) <= round(wanted)
    return result


def _best_of_m(rows: Array, n: int, m: int) -> Array:
    """bool [rows, columns]: the ``n`` highest of each ``m`` columns that follow each other; a rest keeps at most n."""
    keep = np.zeros(rows.shape, bool)
    for start in range(0, rows.shape[1], m):
        part = rows[:, start : start + m]
        order = np.argsort(-part, axis=1, kind="stable")[:, :n]
        np.put_along_axis(keep[:, start : start + m], order, True, 1)
    return keep


def block_numbers(shape: tuple[int, ...], block: tuple[int, int]) -> Array:
    """int [rows, columns]: the number of the block that each element is in."""
    rows, columns = np.arange(shape[0]) // block[0], np.arange(shape[1]) // block[1]
    result: Array = rows[:, None] * (columns[-1] + 1) + columns[None]
    return result


# ---- the matrix that a layer's weights are --------------------------------------------------------------------


def as_rows(operator: Operator, position: int, values: Array) -> Array:
    """Weights as a matrix: one row per output channel, in the graph's order within it."""
    a = operator.attributes
    assert position in LAYERS[type(a)]
    if isinstance(a, ops.DepthwiseConv2d):
        turned: Array = values.reshape(-1, values.shape[3]).T
        return turned
    if isinstance(a, ops.MatMul) and not a.transpose_b:
        return np.swapaxes(values, -1, -2).reshape(-1, values.shape[-2])
    if isinstance(a, ops.MatMul):
        return values.reshape(-1, values.shape[-1])
    return values.reshape(values.shape[0], -1)


def from_rows(operator: Operator, position: int, rows: Array, shape: tuple[int, ...]) -> Array:
    """The opposite of ``as_rows``."""
    a = operator.attributes
    if isinstance(a, ops.DepthwiseConv2d):
        return np.ascontiguousarray(rows.T).reshape(shape)
    if isinstance(a, ops.MatMul) and not a.transpose_b:
        turned = rows.reshape(*shape[:-2], shape[-1], shape[-2])
        return np.ascontiguousarray(np.swapaxes(turned, -1, -2))
    return rows.reshape(shape)


def _in_rows(operator: Operator, position: int, scores: Array, choose: Callable[[Array], Array]) -> Array:
    return from_rows(operator, position, choose(as_rows(operator, position, scores)), scores.shape)
