"""ONNX LSTM and GRU: gates re-ordered to the graph's, directions and layouts unrolled."""

from __future__ import annotations

import numpy as np

from tinyopt.graph import Array
from tinyopt.importers.layers import Layers
from tinyopt.importers.onnx.node import Node, Result, lowers
from tinyopt.importers.values import CannotLower, Value, constant

_DEFAULT_ACTIVATIONS = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"]}


def _reordered(array: Array, order: tuple[int, ...]) -> Array:
    """Gate blocks of the first axis in another order."""
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[i] for i in order])


@lowers("LSTM", "GRU")
def _recurrent(net: Layers, node: Node) -> Result:
    lstm = node.operator == "LSTM"
    gates = 4 if lstm else 3
    direction = node.attribute("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    _check(node, directions)
    batch_first = bool(node.attribute("layout", 0))
    x = node.x if batch_first else net.transpose(node.x, (1, 0, 2))
    w, r = node.input(1).real, node.input(2).real
    hidden = r.shape[2]
    if w.shape[:2] != (directions, gates * hidden) or r.shape != (directions, gates * hidden, hidden):
        raise CannotLower(f"weights {list(w.shape)} and {list(r.shape)} do not fit {directions} direction(s)")
    bias = node.optional(3)
    b = np.zeros((directions, 2 * gates * hidden), np.float32) if bias is None else bias.real
    order = (0, 2, 3, 1) if lstm else (1, 0, 2)  # iofc → ifco, zrh → rzh
    shape = (directions, x.shape[0], hidden)
    initial = [_initial(net, node.optional(index), shape, batch_first) for index in ((5, 6) if lstm else (5,))]
    sequences, finals = [], [[] for _ in initial]  # type: tuple[list[Value], list[list[Value]]]
    for d in range(directions):
        weights, recurrent = _reordered(w[d], order), _reordered(r[d], order)
        wb, rb = (_reordered(part, order) for part in np.split(b[d], 2))
        states = [net.reshape(net.cut(h, 0, d, d + 1), h.shape[1:]) for h in initial]
        reverse = direction == "reverse" or d == 1
        if lstm:
            y, *last = net.lstm(x, weights, recurrent, wb + rb, states[0], states[1], reverse=reverse)
        else:
            before = bool(node.attribute("linear_before_reset", 0))
            y, *last = net.gru(x, weights, recurrent, wb, rb, states[0], reverse=reverse, linear_before_reset=before)
        sequences.append(net.reshape(y, (*y.shape[:2], 1, hidden)))
        for store, value in zip(finals, last):
            store.append(net.reshape(value, (1, *value.shape)))
    y = net.concat(sequences, 2)  # [N, T, directions, H]
    results = [net.concat(values, 0) for values in finals]  # [directions, N, H]
    if batch_first:
        return [y, *(net.transpose(value, (1, 0, 2)) for value in results)]
    return [net.transpose(y, (1, 2, 0, 3)), *results]


def _initial(net: Layers, value: Value | None, shape: tuple[int, int, int], batch_first: bool) -> Value:
    """The initial state [directions, N, H]; zeros where none is given."""
    if value is None:
        return constant(np.zeros(shape, np.float32))
    return net.transpose(value, (1, 0, 2)) if batch_first else value


def _check(node: Node, directions: int) -> None:
    """What the graph's recurrent operators do not have."""
    lengths = node.optional(4)
    time = 1 if node.attribute("layout", 0) else 0
    if lengths is not None and not (lengths.is_constant and (lengths.real == node.x.shape[time]).all()):
        raise CannotLower("sequences of different lengths")
    if node.optional(7) is not None and (not node.input(7).is_constant or node.input(7).real.any()):
        raise CannotLower("peephole connections")
    if node.attribute("clip") is not None:
        raise CannotLower("clipped gate inputs")
    if node.attribute("input_forget", 0):
        raise CannotLower("coupled input and forget gates")
    wanted = _DEFAULT_ACTIVATIONS[node.operator] * directions
    given = [a.decode() if isinstance(a, bytes) else a for a in node.attribute("activations", wanted)]
    if [a.lower() for a in given] != wanted:
        raise CannotLower(f"activations {given}")
