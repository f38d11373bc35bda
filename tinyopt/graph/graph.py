"""The intermediate representation: an immutable graph of operators over named tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from tinyopt.errors import GraphError
from tinyopt.graph.operator import Operator, State
from tinyopt.graph.types import Tensor
from tinyopt.graph.verify import verify

__all__ = ["Graph", "Operator", "State", "topological_order"]


@dataclass(frozen=True, eq=False)
class Graph:
    """Operators in topological order over named tensors. Static shapes; checked on construction.

    ``metadata`` carries facts about the source: ``source`` (file format and version), ``notes`` (what an importer
    has to tell the user, one per line).

    Raises:
        GraphError: when a rule of the representation is broken; the message names operator and tensor.
    """

    name: str
    tensors: Mapping[str, Tensor]
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[State, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))
        object.__setattr__(self, "operators", tuple(self.operators))
        verify(self.name, self.tensors, self.operators, self.inputs, self.outputs, self.states)

    def __reduce__(self) -> tuple[Any, ...]:
        # Read-only mappings can neither be copied nor sent to another process.
        tensors, metadata = dict(self.tensors), dict(self.metadata)
        return Graph, (self.name, tensors, self.operators, self.inputs, self.outputs, self.states, metadata)

    # ---- looking things up ----

    def tensor(self, name: str) -> Tensor:
        try:
            return self.tensors[name]
        except KeyError:
            raise GraphError(f"graph '{self.name}' has no tensor '{name}'") from None

    def ins(self, operator: Operator) -> tuple[Tensor, ...]:
        """The input tensors of an operator."""
        return tuple(self.tensors[name] for name in operator.inputs)

    def outs(self, operator: Operator) -> tuple[Tensor, ...]:
        """The output tensors of an operator."""
        return tuple(self.tensors[name] for name in operator.outputs)

    @cached_property
    def producers(self) -> Mapping[str, Operator]:
        """Tensor name → the operator that writes it."""
        return {output: operator for operator in self.operators for output in operator.outputs}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Operator, ...]]:
        """Tensor name → the operators that read it (each once)."""
        result: dict[str, list[Operator]] = {}
        for operator in self.operators:
            for name in dict.fromkeys(operator.inputs):
                result.setdefault(name, []).append(operator)
        return {name: tuple(readers) for name, readers in result.items()}

    @cached_property
    def kept(self) -> frozenset[str]:
        """Tensors that are needed after the last operator: outputs and new states."""
        return frozenset(self.outputs) | {state.write for state in self.states}

    @cached_property
    def given(self) -> frozenset[str]:
        """Tensors that have a value before the first operator and are not constants: inputs and states."""
        return frozenset(self.inputs) | {state.read for state in self.states}

    def constants(self) -> Iterator[Tensor]:
        return (tensor for tensor in self.tensors.values() if tensor.is_constant)

    @property
    def is_quantized(self) -> bool:
        """True when any activation is a quantized integer tensor (those inside a layer with a run-time range are not
        seen)."""
        return any(
            t.quantization is not None and not t.is_constant and t.dtype.is_integer for t in self.tensors.values()
        )

    # ---- making a changed graph ----

    def with_operators(
        self,
        operators: Iterable[Operator],
        tensors: Iterable[Tensor] = (),
        *,
        inputs: tuple[str, ...] | None = None,
        outputs: tuple[str, ...] | None = None,
        states: tuple[State, ...] | None = None,
    ) -> Graph:
        """A graph with these operators; ``tensors`` are added or replace those of the same name.

        Operators are put in topological order, and tensors that nothing uses any more are dropped.
        """
        table = dict(self.tensors)
        table.update({tensor.name: tensor for tensor in tensors})
        ins = self.inputs if inputs is None else inputs
        outs = self.outputs if outputs is None else outputs
        sts = self.states if states is None else states
        ordered = topological_order(operators, set(ins) | {s.read for s in sts})
        used = set(ins) | set(outs) | {n for s in sts for n in (s.read, s.write)}
        for operator in ordered:
            used.update(operator.inputs)
            used.update(operator.outputs)
        return replace(
            self,
            tensors={name: tensor for name, tensor in table.items() if name in used},
            operators=ordered,
            inputs=ins,
            outputs=outs,
            states=sts,
        )

    def fresh_name(self, stem: str, taken: Iterable[str] = ()) -> str:
        """A tensor name that starts with ``stem`` and is not in use."""
        names = set(taken)
        if stem not in self.tensors and stem not in names:
            return stem
        number = 1
        while f"{stem}_{number}" in self.tensors or f"{stem}_{number}" in names:
            number += 1
        return f"{stem}_{number}"

    def __str__(self) -> str:
        """One line; ``tinyopt.graph.dump`` writes a page."""

        def shapes(names: Iterable[str]) -> str:
            found = [self.tensors[name] for name in names]
            return ", ".join(f"{t.name} {t.dtype.value}[{'x'.join(map(str, t.shape))}]" for t in found)

        return f"graph {self.name}: {len(self.operators)} operators, {shapes(self.inputs)} → {shapes(self.outputs)}"


def topological_order(operators: Iterable[Operator], given: set[str]) -> tuple[Operator, ...]:
    """Operators sorted so that each comes after the producers of its inputs; stable.

    Raises:
        GraphError: when the operators form a cycle (named).
    """
    items = list(operators)
    writer = {output: index for index, operator in enumerate(items) for output in operator.outputs}
    done: list[Operator] = []
    state = [0] * len(items)  # 0 new, 1 on the stack, 2 done
    for root in range(len(items)):
        stack = [root]
        while stack:
            index = stack[-1]
            if state[index] == 2:
                stack.pop()
                continue
            state[index] = 1
            waiting = [
                writer[n] for n in items[index].inputs if n in writer and n not in given and state[writer[n]] != 2
            ]
            if not waiting:
                state[index] = 2
                done.append(items[index])
                stack.pop()
                continue
            for other in waiting:
                if state[other] == 1:
                    raise GraphError(f"operators form a cycle through '{items[other].name}'")
            stack.append(waiting[0])
    return tuple(done)
