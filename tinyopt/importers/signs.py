"""Signs, and the ways in which frameworks write them.

There are two: of -1, 0, 1 (``Signum``: Sign of ONNX, SIGN of TFLite, torch.sign) and of -1, 1 with zero for positive
(``Sign``: what binary networks mean). Networks that mean the second write it as a comparison that selects one of two
numbers, as a cast comparison times two minus one, as ``sign(sign(x) + 0.1)`` (Larq), or as a sign with zeros replaced.
All of these are functions of the sign of x alone: three values, for x < 0, x = 0 and x > 0. This module follows those
three values from operator to operator, and puts one operator where they are those of a sign.

A straight-through estimator that was exported with its arithmetic, ``(sign(x) - c) + c``, is taken for the sign too; it
differs from it by the rounding of two float32 sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from tinyopt.execute.integer.unary import real_function
from tinyopt.graph import Array, DType, Graph, Operator, ops
from tinyopt.graph.ops import BinaryKind, UnaryKind
from tinyopt.importers.tidy import without_dead_operators
from tinyopt.importers.values import CannotLower, Value, constant

_SIGNUM, _SIGN, _UPPER = (-1.0, 0.0, 1.0), (-1.0, 1.0, 1.0), (-1.0, -1.0, 1.0)
_SWAPPED = {
    "greater_or_equal": "less_or_equal",
    "greater": "less",
    "less_or_equal": "greater_or_equal",
    "less": "greater",
    "equal": "equal",
    "not_equal": "not_equal",
}
"""Comparisons, and the same with the operands swapped."""


# ---- comparisons and selections ---------------------------------------------------------------------------------


class Arithmetic(Protocol):
    """What an importer needs to write comparisons with: the part of ``Layers`` that has no axes."""

    def dtype(self, value: Value) -> DType: ...

    def unary(self, op: UnaryKind, x: Value) -> Value: ...

    def binary(self, op: BinaryKind, a: Value, b: Value) -> Value: ...

    def elementwise(self, attributes: ops.Attributes, x: Value) -> Value: ...


def _number(value: float) -> Value:
    return constant(np.float32(value).reshape(1))


def compare(net: Arithmetic, comparison: str, x: Value, y: Value) -> Value:
    """A comparison (of ``_SWAPPED``) of float32 values, at least one of them computed: bool."""
    if any(net.dtype(value) is not DType.FLOAT32 for value in (x, y)):
        raise CannotLower(f"a comparison of {net.dtype(x).value} and {net.dtype(y).value}")
    if x.is_constant:
        x, y, comparison = y, x, _SWAPPED[comparison]
    opposite = {"less": "greater_or_equal", "less_or_equal": "greater", "equal": "not_equal"}.get(comparison)
    if opposite is not None:
        return inverted(net, compare(net, opposite, x, y))
    zero = y.is_constant and not np.any(y.real)
    difference = x if zero and np.broadcast_shapes(x.shape, y.shape) == x.shape else net.binary(BinaryKind.SUB, x, y)
    if comparison == "greater_or_equal":
        return _boolean(net, net.unary(UnaryKind.SIGN, difference))
    if comparison == "greater":
        negative = net.unary(UnaryKind.SIGN, net.unary(UnaryKind.NEG, difference))
        return _boolean(net, net.unary(UnaryKind.NEG, negative))
    return net.elementwise(ops.Cast("bool"), net.unary(UnaryKind.SQUARE, net.unary(UnaryKind.SIGNUM, difference)))


def _boolean(net: Arithmetic, sign: Value) -> Value:
    """Whether a value of -1 or 1 is 1."""
    half = net.binary(BinaryKind.MUL, sign, _number(0.5))
    return net.elementwise(ops.Cast("bool"), net.binary(BinaryKind.ADD, half, _number(0.5)))


def inverted(net: Arithmetic, truth: Value) -> Value:
    """Logical not of a computed bool."""
    number = net.elementwise(ops.Cast("float32"), truth)
    return net.elementwise(ops.Cast("bool"), net.binary(BinaryKind.SUB, _number(1.0), number))


def select(net: Arithmetic, condition: Value, chosen: Value, other: Value) -> Value:
    """``chosen`` where the computed ``condition`` holds, else ``other``; finite float32 values."""
    for value in (chosen, other):
        if net.dtype(value) is not DType.FLOAT32 or (value.is_constant and not np.isfinite(value.real).all()):
            raise CannotLower("a selection between values that are not finite float32 numbers")
    truth = condition
    if net.dtype(truth) is DType.BOOL:
        truth = net.elementwise(ops.Cast("float32"), truth)
    if chosen.is_constant and other.is_constant:
        step = constant(np.asarray(chosen.real - other.real, np.float32))
        return net.binary(BinaryKind.ADD, net.binary(BinaryKind.MUL, truth, step), other)
    complement = net.binary(BinaryKind.SUB, _number(1.0), truth)
    left, right = net.binary(BinaryKind.MUL, truth, chosen), net.binary(BinaryKind.MUL, complement, other)
    return net.binary(BinaryKind.ADD, left, right)


# ---- one operator for a sign ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _OfSign:
    """A tensor that is a function of the sign of another: its values where that is negative, zero and positive."""

    source: str
    values: tuple[float, float, float]


class _Follower:
    """Finds, operator by operator, which tensors depend on the sign of another alone."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.found: dict[str, _OfSign] = {}

    def visit(self, operator: Operator) -> _OfSign | None:
        result = self._result(operator)
        if result is not None:
            self.found[operator.outputs[0]] = result
        return result

    def _result(self, operator: Operator) -> _OfSign | None:
        a = operator.attributes
        if isinstance(a, ops.Unary) and self.graph.outs(operator)[0].dtype is DType.FLOAT32:
            return self._unary(a, operator.inputs[0])
        if isinstance(a, ops.Cast):
            return self._cast(a, operator.inputs[0])
        if isinstance(a, ops.Binary) and a.activation == ops.NONE:
            return self._binary(a.op, *operator.inputs)
        return None

    def _unary(self, a: ops.Unary, name: str) -> _OfSign | None:
        known = self.found.get(name)
        if known is not None:
            function = real_function(a)
            return replace(known, values=_three([function(v) for v in known.values]))
        if a.op is UnaryKind.SIGN:
            return self._of(name, _SIGN)
        return self._of(name, _SIGNUM) if a.op is UnaryKind.SIGNUM else None

    def _of(self, name: str, values: tuple[float, float, float]) -> _OfSign:
        producer = self.graph.producers.get(name)
        if producer is not None and producer.attributes == ops.Unary(UnaryKind.NEG):
            return self._of(producer.inputs[0], (values[2], values[1], values[0]))
        return _OfSign(name, values)

    def _cast(self, a: ops.Cast, name: str) -> _OfSign | None:
        known = self.found.get(name)
        if known is None or a.dtype not in ("bool", "float32"):
            return None
        return known if a.dtype == "float32" else replace(known, values=_three([v != 0 for v in known.values]))

    def _binary(self, kind: BinaryKind, left: str, right: str) -> _OfSign | None:
        estimator = self._straight_through(kind, left, right) or self._straight_through(kind, right, left)
        if estimator is not None:
            return estimator
        one, other = (self.found.get(name) for name in (left, right))
        sources = {known.source for known in (one, other) if known is not None}
        values = [self._values(name, known) for name, known in ((left, one), (right, other))]
        if len(sources) != 1 or any(v is None for v in values):
            return None
        with np.errstate(all="ignore"):
            result = _ARITHMETIC[kind](*(np.asarray(v, np.float32) for v in values))
        if not np.isfinite(result).all():
            return None
        return _OfSign(sources.pop(), _three(result))

    def _values(self, name: str, known: _OfSign | None) -> tuple[float, ...] | None:
        if known is not None:
            return known.values
        data = self.graph.tensors[name].data
        uniform = data is not None and data.size > 0 and bool((data == data.flat[0]).all())
        return (float(data.flat[0]),) * 3 if data is not None and uniform else None

    def _straight_through(self, kind: BinaryKind, difference: str, other: str) -> _OfSign | None:
        """The sign s of ``(s - c) + c``."""
        producer = self.graph.producers.get(difference)
        if kind is not BinaryKind.ADD or producer is None or producer.attributes != ops.Binary(BinaryKind.SUB):
            return None
        return self.found.get(producer.inputs[0]) if producer.inputs[1] == other else None


def _three(values: Sequence[float] | Array) -> tuple[float, float, float]:
    negative, zero, positive = (float(v) for v in values)
    return negative, zero, positive


_ARITHMETIC = {
    BinaryKind.ADD: np.add,
    BinaryKind.SUB: np.subtract,
    BinaryKind.MUL: np.multiply,
    BinaryKind.DIV: np.divide,
    BinaryKind.MINIMUM: np.minimum,
    BinaryKind.MAXIMUM: np.maximum,
}


def fuse_signs(graph: Graph) -> Graph:
    """The float graph with one operator for every sign, however it is written out."""
    follower = _Follower(graph)
    kinds = {_SIGN: UnaryKind.SIGN, _SIGNUM: UnaryKind.SIGNUM}
    first: dict[_OfSign, str] = {}
    same: dict[str, str] = {}
    operators, changed = [], False
    for operator in graph.operators:
        known, y = follower.visit(operator), graph.outs(operator)[0]
        if any(name in same for name in operator.inputs):
            operator = replace(operator, inputs=tuple(same.get(name, name) for name in operator.inputs))
        if known is not None and y.dtype is DType.FLOAT32 and graph.tensors[known.source].shape == y.shape:
            kind = kinds.get(known.values)
            wanted = None if kind is None else (ops.Unary(kind), (known.source,))
            if wanted is not None and (operator.attributes, operator.inputs) != wanted:
                operator, changed = Operator(operator.name, *wanted, operator.outputs), True
            earlier = first.setdefault(known, y.name)
            if earlier != y.name and y.name not in graph.kept:
                same[y.name], changed = earlier, True
        operators.append(operator)
    return without_dead_operators(graph.with_operators(operators)) if changed else graph


def zero_is_positive(graph: Graph) -> Graph:
    """The graph in which the sign of zero is 1, wherever it was 0 (``Signum``) or -1 (a comparison ``x > 0``).

    Layers behind can then read bits. It changes the results where a value is exactly zero, which behind a convolution
    and batch norm hardly happens, and behind a ReLU at every second value.
    """
    follower = _Follower(graph)
    sign = ops.Unary(UnaryKind.SIGN)
    operators = []
    for operator in graph.operators:
        known, y = follower.visit(operator), graph.outs(operator)[0]
        if known is not None and known.values in (_SIGNUM, _UPPER) and graph.tensors[known.source].shape == y.shape:
            operator = Operator(operator.name, sign, (known.source,), operator.outputs)
        operators.append(operator)
    return without_dead_operators(graph.with_operators(operators))
