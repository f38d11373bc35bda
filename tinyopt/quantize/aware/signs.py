"""Binary activations: a float graph in which layers read the signs of what they read before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from tinyopt.errors import DataError
from tinyopt.graph import Graph, Operator, Tensor, ops
from tinyopt.graph.ops import Clamp

_ABLE = (ops.Conv2d, ops.FullyConnected)
_CLAMPED = (
    ops.Conv2d,
    ops.DepthwiseConv2d,
    ops.TransposeConv2d,
    ops.FullyConnected,
    ops.Binary,
    ops.MaxPool2d,
    ops.AveragePool2d,
)
"""Operators with a fused activation."""


def layers_of_signs(graph: Graph, patterns: Sequence[str]) -> tuple[str, ...]:
    """The layers that ``patterns`` choose to read signs: convolutions without groups, and fully connected layers.

    A pattern with ``*`` leaves out what cannot, and the first and the last layer, which keep their precision.

    Raises:
        DataError: when a name chooses no layer, or one that cannot read signs.
    """
    weighted = [o for o in graph.operators if isinstance(o.attributes, (*_ABLE, ops.DepthwiseConv2d))]
    able = [o.name for o in weighted if _is_able(graph, o)]
    edges = {o.name for o in (*weighted[:1], *weighted[-1:])}
    chosen: set[str] = set()
    for pattern in patterns:
        named = pattern in able
        found = [pattern] if named else [n for n in able if fnmatchcase(n, pattern) and n not in edges]
        if not found:
            listed = ", ".join(name for name in able if name not in edges) or "none"
            raise DataError(
                f"no layer of '{graph.name}' that can read signs is called '{pattern}'; convolutions without groups "
                f"and fully connected layers can: {listed}"
            )
        chosen.update(found)
    return tuple(name for name in able if name in chosen)


def _is_able(graph: Graph, operator: Operator) -> bool:
    a, ins = operator.attributes, graph.ins(operator)
    grouped = isinstance(a, ops.Conv2d) and a.groups != 1
    return isinstance(a, _ABLE) and not grouped and not ins[0].is_constant and ins[1].is_constant


def with_signs(graph: Graph, layers: Sequence[str]) -> Graph:
    """The float graph with a sign in front of each of these layers.

    The sign of what a ReLU leaves is always positive, so a sign is taken in front of it, and of a max-pooling between
    the two; what else reads the ReLU still does.
    """
    edit = _Edit(graph)
    for operator in graph.operators:
        if operator.name in layers:
            edit.read_signs(operator)
    return edit.finish()


class _Edit:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.operators = {operator.name: operator for operator in graph.operators}
        self.tensors: dict[str, Tensor] = {}
        self.signs: dict[str, str] = {}
        self.unclamped: dict[str, str] = {}
        self.producers = {name: o.name for o in graph.operators for name in o.outputs}

    def read_signs(self, layer: Operator) -> None:
        source = layer.inputs[0]
        if source not in self.signs:
            before = self._before_relu(source)
            sign = self._tensor(f"{source}_sign", self._shape_of(source))
            self._add(f"{source}_sign", ops.Unary(ops.UnaryKind.SIGN), before, sign)
            self.signs[source] = sign
        inputs = (self.signs[source], *layer.inputs[1:])
        self.operators[layer.name] = replace(self.operators[layer.name], inputs=inputs)

    def finish(self) -> Graph:
        graph = self.graph.with_operators(self.operators.values(), self.tensors.values())
        used = {name for o in graph.operators for name in o.inputs} | graph.kept
        while dead := [o for o in graph.operators if not used & set(o.outputs)]:
            gone = {operator.name for operator in dead}
            graph = graph.with_operators([o for o in graph.operators if o.name not in gone])
            used = {name for o in graph.operators for name in o.inputs} | graph.kept
        return graph

    def _before_relu(self, name: str) -> str:
        """The tensor that has the same signs as this one would have without its ReLU."""
        if name in self.unclamped:
            return self.unclamped[name]
        found = name
        producer = self.producers.get(name)
        if producer is not None:
            operator = self.operators[producer]
            a: Any = operator.attributes
            if isinstance(a, ops.Clip) and _cuts_signs(a.clamp):
                found = operator.inputs[0]
            elif isinstance(a, (ops.MaxPool2d, ops.Reshape)):
                found = self._moved(operator)
            elif isinstance(a, _CLAMPED) and _cuts_signs(a.activation):
                found = self._apart(operator, a.activation)
        self.unclamped[name] = found
        return found

    def _moved(self, operator: Operator) -> str:
        """Pooling or reshaping of what is in front of the ReLU."""
        a: Any = operator.attributes
        source, (output,) = operator.inputs[0], operator.outputs
        before = self._before_relu(source)
        if isinstance(a, ops.MaxPool2d) and _cuts_signs(a.activation):
            a = replace(a, activation=ops.NONE)
        if before == source and a == operator.attributes:
            return output
        result = self._tensor(f"{output}_linear", self._shape_of(output))
        self._add(f"{operator.name}_linear", a, before, result)
        return result

    def _apart(self, operator: Operator, activation: Clamp) -> str:
        """A fused activation becomes an operator of its own; the tensor in front of it."""
        (output,) = operator.outputs
        linear = self._tensor(f"{output}_linear", self._shape_of(output))
        a: Any = operator.attributes
        changed = replace(operator, attributes=replace(a, activation=ops.NONE), outputs=(linear,))
        self.operators[operator.name] = changed
        self._add(f"{operator.name}_activation", ops.Clip(activation), linear, output)
        return linear

    def _shape_of(self, name: str) -> tuple[int, ...]:
        return (self.tensors.get(name) or self.graph.tensors[name]).shape

    def _tensor(self, stem: str, shape: tuple[int, ...]) -> str:
        name = self.graph.fresh_name(stem, self.tensors)
        like = self.graph.tensors[self.graph.inputs[0]]
        self.tensors[name] = Tensor(name, shape, like.dtype)
        return name

    def _add(self, stem: str, attributes: ops.Attributes, source: str, output: str) -> None:
        name, number = stem, 0
        while name in self.operators:
            number += 1
            name = f"{stem}_{number}"
        self.operators[name] = Operator(name, attributes, (source,), (output,))
        self.producers[output] = name


def _cuts_signs(clamp: Clamp) -> bool:
    """Whether no negative value is left."""
    return clamp.low is not None and clamp.low >= 0
