"""Follows channels through a graph, operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinyopt.compress.prune.coupling import NO_ATOM, Atoms, Coupling, Cut, Labels, Role
from tinyopt.graph import Array, Graph, Operator
from tinyopt.graph.ops import Attributes

Rule = Callable[["Tracer", Operator, Any], None]
RULES: dict[type[Attributes], Rule] = {}


def rule(*kinds: type[Attributes]) -> Callable[[Rule], Rule]:
    """Register how an operator couples channels."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


def trace(graph: Graph) -> Coupling:
    """The channels of a graph and how they are coupled."""
    import tinyopt.compress.prune.rules  # noqa: F401 - registers itself

    return Tracer(graph).run()


class Tracer:
    """The state of one pass: labels of the tensors so far, and the cuts found."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.atoms = Atoms()
        self.labels: dict[str, Labels] = {}
        self.cuts: list[Cut] = []
        self.contracted: list[Array] = []

    def run(self) -> Coupling:
        states: dict[str, Array] = {}
        for state in self.graph.states:
            shape = self.graph.tensors[state.read].shape
            if shape:
                states[state.name] = self.atoms.fresh(shape[-1])
                self.labels[state.read] = Labels(len(shape) - 1, states[state.name])
        for operator in self.graph.operators:
            apply = RULES.get(type(operator.attributes), _unknown)
            apply(self, operator, operator.attributes)
        for state in self.graph.states:
            self._close(state.name, state.write, states.get(state.name))
        for name in self.graph.outputs:
            self.freeze([name], f"its channels reach the output '{name}'")
        return Coupling(self.graph, self.atoms, self.labels, tuple(self.cuts), states, tuple(self.contracted))

    def _close(self, state: str, write: str, atoms: Array | None) -> None:
        if atoms is None:
            return
        reason = f"the state '{state}' takes its values from something that keeps its channels"
        written = self.labels.get(write)
        if written is not None and written.axis == len(self.graph.tensors[write].shape) - 1:
            self.atoms.unite(atoms, written.atoms, reason)
        else:
            self.atoms.freeze(atoms, reason)
            self.freeze([write], f"the state '{state}' keeps its shape")

    # ---- what rules are written with ----

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph.tensors[name].shape

    def constant(self, operator: Operator, positions: Iterable[int]) -> bool:
        """Whether these inputs (those that are there) are constants."""
        names = [operator.inputs[p] for p in positions if p < len(operator.inputs)]
        return all(self.graph.tensors[name].is_constant for name in names)

    def freeze(self, names: Iterable[str], reason: str) -> None:
        for name in names:
            if name in self.labels:
                self.atoms.freeze(self.labels[name].atoms, reason)

    def freeze_inputs(self, operator: Operator, why: str) -> None:
        self.freeze(operator.inputs, f"'{operator.name}' ({operator.kind}) {why}")

    def cut(self, operator: Operator, position: int, axis: int, atoms: Array, role: Role) -> None:
        """A constant input that is shortened with ``atoms``; absent optional inputs are passed over."""
        if position < len(operator.inputs):
            self.cuts.append(Cut(operator.name, position, axis, atoms, role))

    def read(self, operator: Operator, axis: int) -> Array | None:
        """The atoms of a layer's first input along ``axis``; channels on another axis are frozen."""
        labels = self.labels.get(operator.inputs[0])
        if labels is None:
            return None
        if labels.axis != axis:
            self.freeze_inputs(operator, "works along another axis than that of the channels")
            return None
        return labels.atoms

    def give(self, operator: Operator, axis: int, atoms: Array | None, output: int = 0) -> None:
        """Label an output."""
        if atoms is not None:
            self.labels[operator.outputs[output]] = Labels(axis, atoms)

    def tie_rows(self, matrix: Array, operator: Operator) -> None:
        """Couple the rows of [groups, channels] with each other."""
        for row in matrix[1:]:
            self.atoms.unite(matrix[0], row, f"'{operator.name}' couples it to a channel that stays")

    def on_axis(self, operator: Operator, position: int, axis: int, rank: int) -> Labels | None:
        """Labels of an input, when they lie along ``axis`` of the broadcast result of ``rank``."""
        labels = self.labels.get(operator.inputs[position])
        if labels is None or labels.axis + rank - len(self.shape(operator.inputs[position])) != axis:
            return None
        return labels


def _unknown(tracer: Tracer, operator: Operator, attributes: Attributes) -> None:
    tracer.freeze_inputs(operator, "mixes channels in a way that pruning does not follow")


def reshaped(tracer: Tracer, labels: Labels, before: tuple[int, ...], after: tuple[int, ...]) -> Labels | None:
    """Labels after a reshape: on the axis that keeps most groups apart, which are coupled as far as that needs it.

    A flatten couples nothing; a split of the channel axis in two (channel shuffle, attention heads) does. None when
    all channels would become one.
    """
    spread = [1] * len(before)
    spread[labels.axis] = -1
    groups = tracer.atoms.groups(labels.atoms)
    field = np.broadcast_to(groups.reshape(spread), before).reshape(after)
    best: tuple[int, int, Array] | None = None
    for axis in range(len(after)):
        if after[axis] == 1:
            continue
        rows = np.moveaxis(field, axis, 0).reshape(after[axis], -1)
        pairs = Atoms()
        size = int(groups.max(initial=0)) + 1
        pairs.fresh(size)
        unique_rows = [np.unique(row) for row in rows]
        for row in unique_rows:
            pairs.unite(np.full(len(row) - 1, row[-1]), row[:-1], "")
        count = len({pairs.find(int(row[-1])) for row in unique_rows if row[0] != NO_ATOM})
        if best is None or count > best[0]:
            best = (count, axis, rows)
    if best is None or best[0] < 2:
        return None
    _, axis, rows = best
    for row in rows:
        values = np.unique(row)
        tracer.atoms.unite(np.full(len(values), values[-1]), values, "a reshape ties it to a channel that stays")
    return Labels(axis, rows.max(1))
