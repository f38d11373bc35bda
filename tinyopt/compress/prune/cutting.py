"""Takes groups of channels out of a graph, or masks them in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from tinyopt.compress.prune.coupling import Coupling, Cut, Role
from tinyopt.graph import Array, Graph, Operator, State, Tensor, ops

Slot = tuple[str, int]
"""An input of an operator: its name and the position."""

_Edit = Callable[[Cut, Array], "Array | None"]


def remove_groups(coupling: Coupling, removed: frozenset[int]) -> Graph:
    """The graph without the channels of these groups. Constants and activations keep their names.

    A tensor of which every channel is in ``removed`` is an error of the caller."""
    return _Cutter(coupling, removed).run()


def mask_groups(coupling: Coupling, removed: frozenset[int]) -> Graph:
    """The graph of the same shapes in which nothing reads the channels of these groups: the columns of all weights
    that read them are zero. ``remove_groups`` computes the same function.

    Where two activations are multiplied and summed over such channels, the rows that make them are zero as well."""
    gone_at = {id(cut): gone for cut, gone in masked_parts(coupling, removed)}

    def masked(cut: Cut, value: Array) -> Array | None:
        gone = gone_at.get(id(cut))
        if gone is None:
            return None
        shape = [1] * value.ndim
        shape[cut.axis] = -1
        return np.where(gone.reshape(shape), value.dtype.type(0), value)

    operators, tensors = _edited(coupling, masked)
    return coupling.graph.with_operators(operators.values(), tensors)


def masked_parts(coupling: Coupling, removed: frozenset[int]) -> list[tuple[Cut, Array]]:
    """The cuts to mask so that nothing reads the groups of ``removed``, with what becomes zero (bool along an axis)."""
    contracted = [a for atoms in coupling.contracted for a in coupling.atoms.groups(atoms).tolist()]
    dots = removed & frozenset(contracted)
    parts = [(cut, coupling.gone(cut.atoms, removed if cut.role is Role.COLUMN else dots)) for cut in coupling.cuts]
    return [(cut, gone) for cut, gone in parts if gone.any()]


def _edited(coupling: Coupling, edit: _Edit) -> tuple[dict[str, Operator], list[Tensor]]:
    """Every constant after its cuts, one by one. A constant keeps its name where all that read it want the same."""
    graph = coupling.graph
    values: dict[Slot, Array] = {}
    operators = {operator.name: operator for operator in graph.operators}
    for cut in coupling.cuts:
        slot = (cut.operator, cut.position)
        name = operators[cut.operator].inputs[cut.position]
        value = edit(cut, values.get(slot, graph.tensors[name].value))
        if value is not None:
            values[slot] = value
    wanted: dict[str, dict[bytes, list[Slot]]] = {}
    for operator in graph.operators:
        for position, name in enumerate(operator.inputs):
            if graph.tensors[name].is_constant:
                key = values.get((operator.name, position))
                mark = b"" if key is None else repr(key.shape).encode() + key.tobytes()
                wanted.setdefault(name, {}).setdefault(mark, []).append((operator.name, position))
    tensors: dict[str, Tensor] = {}
    for name, variants in wanted.items():
        alone = len(variants) == 1 and name not in graph.outputs
        for mark, slots in variants.items():
            if not mark:
                continue
            data = np.ascontiguousarray(values[slots[0]])
            new = name if alone else graph.fresh_name(f"{name}_kept", tensors)
            tensors[new] = Tensor.constant(new, data)
            for operator_name, position in slots:
                inputs = list(operators[operator_name].inputs)
                inputs[position] = new
                operators[operator_name] = replace(operators[operator_name], inputs=tuple(inputs))
    return operators, list(tensors.values())


class _Cutter:
    def __init__(self, coupling: Coupling, removed: frozenset[int]) -> None:
        self.coupling, self.removed = coupling, removed
        self.keeps: Mapping[str, Array] = {
            name: ~coupling.gone(labels.atoms, removed) for name, labels in coupling.labels.items()
        }

    def run(self) -> Graph:
        graph = self.coupling.graph

        def shortened(cut: Cut, value: Array) -> Array | None:
            gone = self.coupling.gone(cut.atoms, self.removed)
            return np.compress(~gone, value, cut.axis) if gone.any() else None

        operators, tensors = _edited(self.coupling, shortened)
        for name, keep in self.keeps.items():
            if not keep.all():
                tensors.append(replace(graph.tensors[name], shape=self._shape(name)))
        changed = [replace(operator, attributes=self._attributes(operator)) for operator in operators.values()]
        states = tuple(self._state(state) for state in graph.states)
        return graph.with_operators(changed, tensors, states=states)

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = list(self.coupling.graph.tensors[name].shape)
        if name in self.keeps:
            shape[self.coupling.labels[name].axis] = int(self.keeps[name].sum())
        return tuple(shape)

    def _kept_before(self, name: str, axis: int, index: int) -> int:
        """How many of the first ``index`` entries along ``axis`` stay."""
        labels = self.coupling.labels.get(name)
        if labels is None or labels.axis != axis:
            return index
        return int(self.keeps[name][:index].sum())

    def _attributes(self, operator: Operator) -> ops.Attributes:
        a = operator.attributes
        x, y = operator.inputs[0], operator.outputs[0]
        if isinstance(a, (ops.Reshape, ops.BroadcastTo)):
            return replace(a, shape=self._shape(y))
        if isinstance(a, ops.Conv2d) and a.groups > 1 and a.groups == self.coupling.graph.tensors[x].shape[-1]:
            return replace(a, groups=self._shape(x)[-1])
        if isinstance(a, ops.Split):
            return replace(a, sizes=tuple(self._shape(name)[a.axis] for name in operator.outputs))
        if isinstance(a, ops.Slice):
            begin = tuple(self._kept_before(x, axis, start) for axis, start in enumerate(a.begin))
            return replace(a, begin=begin, size=self._shape(y))
        if isinstance(a, ops.Pad):
            before = tuple(self._kept_before(y, axis, count) for axis, count in enumerate(a.before))
            inside = self._shape(x)
            after = tuple(total - count - size for total, count, size in zip(self._shape(y), before, inside))
            return replace(a, before=before, after=after)
        return a

    def _state(self, state: State) -> State:
        atoms = self.coupling.states.get(state.name)
        if atoms is None:
            return state
        keep = ~self.coupling.gone(atoms, self.removed)
        return state if keep.all() else replace(state, initial=np.compress(keep, state.initial, state.initial.ndim - 1))
