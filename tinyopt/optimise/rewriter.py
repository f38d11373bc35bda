"""A working copy of a graph: passes change it step by step and make one verified graph at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tinyopt.graph import Array, Graph, Operator, Quantization, Tensor
from tinyopt.graph.ops import Attributes


class Rewriter:
    """The operators and tensors of a graph, open to change; operators are known by their (unique) names."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._tensors: dict[str, Tensor] = dict(graph.tensors)
        self._operators: dict[str, Operator] = {}
        self._writer: dict[str, str] = {}
        self._readers: dict[str, dict[str, None]] = {}
        self._changed = False
        self.kept = graph.kept
        """Tensors that are needed after the last operator: outputs and new states."""
        self.given = graph.given
        for operator in graph.operators:
            self._insert(operator)

    # ---- looking ----

    def scan(self) -> Iterator[Operator]:
        """Every operator that still exists when its turn comes, in order; those added meanwhile come last."""
        seen: set[str] = set()
        while fresh := [name for name in self._operators if name not in seen]:
            for name in fresh:
                seen.add(name)
                if name in self._operators:
                    yield self._operators[name]

    def tensor(self, name: str) -> Tensor:
        return self._tensors[name]

    def ins(self, operator: Operator) -> tuple[Tensor, ...]:
        return tuple(self._tensors[name] for name in operator.inputs)

    def outs(self, operator: Operator) -> tuple[Tensor, ...]:
        return tuple(self._tensors[name] for name in operator.outputs)

    def producer(self, name: str) -> Operator | None:
        """The operator that writes a tensor; None for constants, inputs and states."""
        writer = self._writer.get(name)
        return None if writer is None else self._operators[writer]

    def readers(self, name: str) -> list[Operator]:
        return [self._operators[reader] for reader in self._readers.get(name, ())]

    def has_one_reader(self, name: str) -> bool:
        """Whether exactly one operator uses a tensor, once, and nothing else does."""
        readers = self.readers(name)
        return len(readers) == 1 and readers[0].inputs.count(name) == 1 and name not in self.kept

    # ---- changing ----

    def constant(self, stem: str, data: Array, quantization: Quantization | None = None) -> str:
        """Add a constant; returns its name."""
        name, number = stem, 0
        while name in self._tensors:
            number += 1
            name = f"{stem}_{number}"
        self._tensors[name] = Tensor.constant(name, np.ascontiguousarray(data), quantization)
        return name

    def activation(self, stem: str, like: Tensor, **changes: object) -> str:
        """Add an activation that is like another one except for ``changes``; returns its name."""
        name, number = stem, 0
        while name in self._tensors:
            number += 1
            name = f"{stem}_{number}"
        self._tensors[name] = replace(like, name=name, data=None, **changes)  # type: ignore[arg-type]
        return name

    def set_tensor(self, tensor: Tensor) -> None:
        """Replace the declaration of the tensor of that name."""
        self._tensors[tensor.name] = tensor
        self._changed = True

    def substitute(self, old: Operator | Sequence[Operator], *new: Operator) -> None:
        """Put operators in the place of others."""
        for operator in [old] if isinstance(old, Operator) else old:
            del self._operators[operator.name]
            for name in operator.outputs:
                del self._writer[name]
            for name in operator.inputs:
                self._readers.get(name, {}).pop(operator.name, None)
        for operator in new:
            self._insert(operator)
        self._changed = True

    def change(self, operator: Operator, attributes: Attributes, inputs: Sequence[str] | None = None) -> Operator:
        """The same operator with other attributes, and other inputs when given."""
        changed = replace(operator, attributes=attributes, inputs=tuple(inputs or operator.inputs))
        self.substitute(operator, changed)
        return changed

    def redirect(self, old: str, new: str) -> None:
        """Every operator that read the tensor ``old`` reads ``new``."""
        for reader in self.readers(old):
            inputs = tuple(new if name == old else name for name in reader.inputs)
            self.substitute(reader, replace(reader, inputs=inputs))

    def bypass(self, operator: Operator, source: str | None = None) -> bool:
        """Remove an operator of one output whose result is ``source`` (its first input) unchanged.

        False, and nothing is changed, where the result is an output or a state whose value only this operator can
        bring to the right name.
        """
        source, result = source or operator.inputs[0], operator.outputs[0]
        if result not in self.kept:
            self.substitute(operator)
            self.redirect(result, source)
            return True
        writer = self.producer(source)
        if writer is None or source in self.kept:
            return False
        self.substitute(operator)
        renamed = tuple(result if name == source else name for name in writer.outputs)
        self.substitute(writer, replace(writer, outputs=renamed))
        self.redirect(source, result)
        return True

    def finish(self) -> Graph:
        """The changed graph, verified; the original object where nothing was changed."""
        if not self._changed:
            return self._graph
        return self._graph.with_operators(self._operators.values(), self._tensors.values())

    def _insert(self, operator: Operator) -> None:
        name, number = operator.name, 0
        while name in self._operators:
            number += 1
            name = f"{operator.name}_{number}"
        if name != operator.name:
            operator = replace(operator, name=name)
        self._operators[name] = operator
        for output in operator.outputs:
            self._writer[output] = name
        for tensor in operator.inputs:
            self._readers.setdefault(tensor, {})[name] = None
