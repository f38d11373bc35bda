"""How important a group of channels is."""

from __future__ import annotations

import numpy as np

from tinyopt.compress.prune.config import L1, ActivationStatistics, Random, Taylor
from tinyopt.compress.prune.coupling import NO_ATOM, Coupling, Cut, Role
from tinyopt.compress.prune.scores import LAYERS, Measured, read_tensor
from tinyopt.graph import Array, ops

Scores = dict[int, float]


def group_scores(coupling: Coupling, measured: Measured) -> Scores:
    """Group → importance, for all groups that a layer makes.

    Magnitudes and activation statistics are divided by their mean over the layer, so that layers compare; then the
    mean over everything that the group touches. Taylor scores are changes of the loss and compare as they are.
    """
    criterion = measured.criterion
    if isinstance(criterion, Random):
        groups = _made(coupling)
        draws = np.random.default_rng(criterion.seed).random(len(groups))
        return dict(zip(groups, draws.tolist()))
    if isinstance(criterion, Taylor):
        return _taylor(coupling, measured)
    if isinstance(criterion, ActivationStatistics):
        return _activations(coupling, measured, criterion)
    gathered = _Mean()
    for cut in coupling.cuts:
        if cut.role is Role.ROW and _is_weight(coupling, cut):
            value = measured.value(_constant(coupling, cut)).astype(np.float64)
            rows = np.moveaxis(value, cut.axis, 0).reshape(len(cut.atoms), -1)
            size = np.abs(rows).mean(1) if isinstance(criterion, L1) else np.sqrt(np.square(rows).mean(1))
            size = size * _batch_norm_factor(coupling, measured, cut)
            gathered.add(coupling.atoms.groups(cut.atoms), _relative(size))
    return gathered.result(_made(coupling))


class _Mean:
    """Collects values for groups; several values for one group count equally."""

    def __init__(self) -> None:
        self.sums: dict[int, float] = {}
        self.counts: dict[int, int] = {}

    def add(self, groups: Array, values: Array) -> None:
        """One layer's view: values [n] for groups [n]; entries of one group are averaged first."""
        numbers, place = np.unique(groups, return_inverse=True)
        means = np.bincount(place, values) / np.bincount(place)
        for group, value in zip(numbers.tolist(), means.tolist()):
            if group != NO_ATOM:
                self.sums[group] = self.sums.get(group, 0.0) + value
                self.counts[group] = self.counts.get(group, 0) + 1

    def result(self, groups: list[int]) -> Scores:
        return {g: self.sums[g] / self.counts[g] if g in self.sums else 1.0 for g in groups}


def _made(coupling: Coupling) -> list[int]:
    found: dict[int, None] = {}
    for cut in coupling.cuts:
        if cut.role is Role.ROW:
            found.update(dict.fromkeys(coupling.atoms.groups(cut.atoms).tolist()))
    found.pop(NO_ATOM, None)
    return list(found)


def _relative(values: Array) -> Array:
    mean = float(values.mean())
    result: Array = values / mean if mean > 0 else np.ones_like(values)
    return result


def _constant(coupling: Coupling, cut: Cut) -> str:
    operator = next(o for o in coupling.graph.operators if o.name == cut.operator)
    return operator.inputs[cut.position]


def _is_weight(coupling: Coupling, cut: Cut) -> bool:
    operator = next(o for o in coupling.graph.operators if o.name == cut.operator)
    positions = (0,) if isinstance(operator.attributes, ops.Gather) else LAYERS.get(type(operator.attributes), ())
    return cut.position in positions


def _batch_norm_factor(coupling: Coupling, measured: Measured, cut: Cut) -> Array:
    """What a batch norm right after the layer multiplies each channel with: a filter's own size means nothing there."""
    graph = coupling.graph
    operator = next(o for o in graph.operators if o.name == cut.operator)
    readers = graph.consumers.get(operator.outputs[0], ())
    if len(readers) != 1 or not isinstance(readers[0].attributes, ops.BatchNorm):
        return np.ones(1)
    gamma, variance = (readers[0].inputs[1], readers[0].inputs[4])
    if not all(graph.tensors[name].is_constant for name in (gamma, variance)):
        return np.ones(1)
    if graph.tensors[gamma].size != len(cut.atoms):
        return np.ones(1)
    scale = np.abs(measured.value(gamma).astype(np.float64))
    result: Array = scale / np.sqrt(measured.value(variance).astype(np.float64) + readers[0].attributes.epsilon)
    return result


def _taylor(coupling: Coupling, measured: Measured) -> Scores:
    """The first-order change of the loss when nothing reads the channels any more: gradient times weight over all
    columns that read them; over the rows that make them where no weights read them (inside attention)."""
    groups = _made(coupling)
    index = {group: place for place, group in enumerate(groups)}
    weights = [cut for cut in coupling.cuts if cut.role is not Role.SCALE and _is_weight(coupling, cut)]
    columns = [cut for cut in weights if cut.role is Role.COLUMN]
    read = {g for cut in columns for g in coupling.atoms.groups(cut.atoms).tolist()}
    total, batches = np.zeros(len(groups)), 0
    plans = [
        (cut, _constant(coupling, cut), np.array([index.get(g, NO_ATOM) for g in coupling.atoms.groups(cut.atoms)]))
        for cut in weights
    ]
    unread = np.array([g not in read for g in groups])
    for gradients in measured.gradients():
        change = np.zeros(len(groups))
        for cut, name, places in plans:
            if name not in gradients:
                continue
            product = gradients[name].astype(np.float64) * measured.value(name)
            sums = np.moveaxis(product, cut.axis, 0).reshape(len(places), -1).sum(1)
            used = places >= 0
            if cut.role is Role.ROW:
                used[used] &= unread[places[used]]
            np.add.at(change, places[used], sums[used])
        total += np.square(change)
        batches += 1
    return dict(zip(groups, (total / max(batches, 1)).tolist()))


def _activations(coupling: Coupling, measured: Measured, criterion: ActivationStatistics) -> Scores:
    """Statistics of the activations that layers read; of those that layers make where no layer reads them."""
    operators = {operator.name: operator for operator in coupling.graph.operators}
    tensors: dict[str, None] = {}
    reached: set[int] = set()
    for role in (Role.COLUMN, Role.ROW):
        for cut in coupling.cuts:
            if cut.role is not role or not _is_weight(coupling, cut):
                continue
            operator = operators[cut.operator]
            name = read_tensor(operator, cut.position)[0] if role is Role.COLUMN else operator.outputs[0]
            if name not in coupling.labels or name in tensors:
                continue
            groups = set(coupling.atoms.groups(coupling.labels[name].atoms).tolist())
            if role is Role.COLUMN or not groups <= reached:
                tensors[name] = None
                reached |= groups
    moments = measured.moments(tensors)
    gathered = _Mean()
    for name in tensors:
        labels = coupling.labels[name]
        field = moments[name][0 if criterion.kind == "mean" else 2]
        values = np.moveaxis(field, labels.axis, 0).reshape(len(labels.atoms), -1).mean(1)
        gathered.add(coupling.atoms.groups(labels.atoms), _relative(values) if criterion.kind == "mean" else values)
    return gathered.result(_made(coupling))
