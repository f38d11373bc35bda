"""Activations that exporters write out as arithmetic, put together again.

GELU as x * (1 + erf(x / √2)) / 2, its tanh approximation, SiLU as x * sigmoid(x), hard-swish as x * hard_sigmoid(x) or
x * clip(x + 3, 0, 6) / 6. One operator is one kernel, and one rounding when it is quantized, instead of up to eight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from tinyopt.graph import Graph, Operator, ops
from tinyopt.graph.ops import BinaryKind, UnaryKind
from tinyopt.importers.tidy import without_dead_operators

_TOLERANCE = 1e-4


class _Reader:
    """Looks through float operators backwards from a tensor. Every method gives None where it does not match."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def producer(self, name: str) -> Operator | None:
        return self.graph.producers.get(name)

    def number(self, name: str) -> float | None:
        """A constant of one element."""
        data = self.graph.tensors[name].data
        return float(data.reshape(-1)[0]) if data is not None and data.size == 1 else None

    def unary(self, name: str, *kinds: UnaryKind) -> str | None:
        """The input of a unary operator of these kinds."""
        operator = self.producer(name)
        if operator is None or not isinstance(operator.attributes, ops.Unary) or operator.attributes.op not in kinds:
            return None
        return operator.inputs[0]

    def pairs(self, name: str, kind: BinaryKind) -> Iterator[tuple[str, str]]:
        """The operands of a binary operator, in both orders where it commutes."""
        operator = self.producer(name)
        if operator is None or operator.attributes not in (ops.Binary(kind),):
            return
        left, right = operator.inputs
        yield left, right
        if kind in (BinaryKind.ADD, BinaryKind.MUL):
            yield right, left

    def scaled(self, name: str, factor: float) -> str | None:
        """x of ``x * factor`` or ``x / (1 / factor)``."""
        for left, right in self.pairs(name, BinaryKind.MUL):
            if _near(self.number(right), factor):
                return left
        for left, right in self.pairs(name, BinaryKind.DIV):
            if _near(self.number(right), 1 / factor):
                return left
        return None

    def shifted(self, name: str, offset: float) -> str | None:
        """x of ``x + offset``."""
        for left, right in self.pairs(name, BinaryKind.ADD):
            if _near(self.number(right), offset):
                return left
        return None

    # ---- the activations, each from its final tensor to x ----

    def _products(self, name: str) -> Iterator[tuple[str, str, float]]:
        """(a, b, factor) of name = a * b * factor, for every way in which the product may be written."""
        for a, b, factor in self._ordered(name):
            yield a, b, factor
            yield b, a, factor

    def _ordered(self, name: str) -> Iterator[tuple[str, str, float]]:
        for a, b in self.pairs(name, BinaryKind.MUL):
            yield a, b, 1.0
            factor = self.number(b)
            if factor is not None:  # (c * d) * number
                for c, d in self.pairs(a, BinaryKind.MUL):
                    yield c, d, factor
            for kind in (BinaryKind.MUL, BinaryKind.DIV):  # a * (c * number)
                for c, d in self.pairs(b, kind):
                    number = self.number(d)
                    if number:
                        yield a, c, number if kind is BinaryKind.MUL else 1 / number
        for quotient, divisor in self.pairs(name, BinaryKind.DIV):
            number = self.number(divisor)
            if number:
                for a, b in self.pairs(quotient, BinaryKind.MUL):
                    yield a, b, 1 / number

    def gelu(self, name: str) -> str | None:
        for x, one_plus, factor in self._products(name):
            inner = self.shifted(one_plus, 1.0)
            if inner is None or not _near(factor, 0.5):
                continue
            argument = self.unary(inner, UnaryKind.ERF)
            if argument is not None and self.scaled(argument, math.sqrt(0.5)) == x:
                return x
        return None

    def gelu_tanh(self, name: str) -> str | None:
        for x, one_plus, factor in self._products(name):
            inner = self.shifted(one_plus, 1.0)
            argument = None if inner is None else self.unary(inner, UnaryKind.TANH)
            polynomial = None if argument is None else self.scaled(argument, math.sqrt(2 / math.pi))
            if polynomial is not None and _near(factor, 0.5) and self._cubic(polynomial, x):
                return x
        return None

    def _cubic(self, name: str, x: str) -> bool:
        """x + 0.044715 x³."""
        for left, right in self.pairs(name, BinaryKind.ADD):
            cube = self.scaled(right, 0.044715)
            if left == x and cube is not None:
                for square, other in self.pairs(cube, BinaryKind.MUL):
                    if other == x and (
                        self.unary(square, UnaryKind.SQUARE) == x or (x, x) in self.pairs(square, BinaryKind.MUL)
                    ):
                        return True
        return False

    def silu(self, name: str) -> str | None:
        for x, gate in self.pairs(name, BinaryKind.MUL):
            if self.unary(gate, UnaryKind.LOGISTIC) == x:
                return x
        return None

    def hard_swish(self, name: str) -> str | None:
        for x, gate in self.pairs(name, BinaryKind.MUL):
            if self.unary(gate, UnaryKind.HARD_SIGMOID) == x:
                return x
        for x, clipped, factor in self._products(name):
            operator = self.producer(clipped)
            if operator is None or operator.attributes != ops.Clip(ops.RELU6) or not _near(factor, 1 / 6):
                continue
            if self.shifted(operator.inputs[0], 3.0) == x:
                return x
        return None


def _near(value: float | None, wanted: float) -> bool:
    return value is not None and math.isclose(value, wanted, rel_tol=_TOLERANCE)


def fuse_activations(graph: Graph) -> Graph:
    """The graph with written-out activations as one operator each. Float results change by rounding only."""
    reader = _Reader(graph)
    matchers = {
        UnaryKind.GELU: reader.gelu,
        UnaryKind.GELU_TANH: reader.gelu_tanh,
        UnaryKind.SILU: reader.silu,
        UnaryKind.HARD_SWISH: reader.hard_swish,
    }
    operators = list(graph.operators)
    changed = False
    for index, operator in enumerate(operators):
        if not isinstance(operator.attributes, ops.Binary) or graph.outs(operator)[0].dtype.is_integer:
            continue
        for kind, match in matchers.items():
            x = match(operator.outputs[0])
            if x is not None and graph.tensors[x].shape == graph.outs(operator)[0].shape:
                operators[index] = Operator(operator.name, ops.Unary(kind), (x,), operator.outputs)
                changed = True
                break
    if not changed:
        return graph
    return without_dead_operators(graph.with_operators(operators))
