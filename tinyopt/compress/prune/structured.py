"""Structured pruning: which groups of channels and neurons leave."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyopt.compress.prune.budget import Outcome, bisect, cost_of, limit_of, reached
from tinyopt.compress.prune.compensation import compensated, mean_inputs
from tinyopt.compress.prune.config import StructuredPruning, Target
from tinyopt.compress.prune.coupling import NO_ATOM, Coupling, Role
from tinyopt.compress.prune.cutting import remove_groups
from tinyopt.compress.prune.group_scores import group_scores
from tinyopt.compress.prune.scores import Measured, skipped, weight_readers
from tinyopt.compress.prune.tracing import trace
from tinyopt.errors import TinyoptError
from tinyopt.graph import Array, Graph, ops

_CONVOLUTIONS = (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d)


@dataclass(frozen=True, eq=False)
class Family:
    """Groups that the same layers make: any of them may go in place of another. ``channels``: how many channels each
    group has in the first of these layers (more than one where a convolution has groups)."""

    layers: tuple[str, ...]
    groups: Array
    channels: int
    convolutional: bool


def removable_groups(coupling: Coupling) -> list[int]:
    """Groups that some layer makes and that nothing holds back, in order of their first atom."""
    found: dict[int, None] = {}
    for cut in coupling.cuts:
        if cut.role is Role.ROW:
            for group in coupling.atoms.groups(cut.atoms).tolist():
                if group != NO_ATOM and coupling.atoms.reason(group) is None:
                    found.setdefault(group)
    return list(found)


def families(coupling: Coupling) -> list[Family]:
    """The removable groups by the layers that make them, in the order of the graph."""
    kinds = {operator.name: operator.attributes for operator in coupling.graph.operators}
    makers: dict[int, dict[str, int]] = {}
    allowed = set(removable_groups(coupling))
    for cut in coupling.cuts:
        if cut.role is Role.ROW:
            numbers, counts = np.unique(coupling.atoms.groups(cut.atoms), return_counts=True)
            for group, count in zip(numbers.tolist(), counts.tolist()):
                if group in allowed:
                    makers.setdefault(group, {}).setdefault(cut.operator, count)
    members: dict[tuple[str, ...], list[int]] = {}
    for group in allowed.intersection(makers):
        members.setdefault(tuple(makers[group]), []).append(group)
    order = {operator.name: place for place, operator in enumerate(coupling.graph.operators)}
    return [
        Family(
            layers,
            np.array(sorted(groups)),
            makers[groups[0]][layers[0]],
            any(isinstance(kinds[name], _CONVOLUTIONS) for name in layers),
        )
        for layers, groups in sorted(members.items(), key=lambda item: [order[name] for name in item[0]])
    ]


def frozen_layers(coupling: Coupling) -> dict[str, str]:
    """Layers that cannot lose any channel → why."""
    found: dict[str, str] = {}
    for cut in coupling.cuts:
        if cut.role is Role.ROW and cut.operator not in found:
            groups = coupling.atoms.groups(cut.atoms)
            reasons = [coupling.atoms.reason(int(group)) for group in groups if group != NO_ATOM]
            if reasons and all(reason is not None for reason in reasons):
                found[cut.operator] = str(reasons[0])
    return found


def prune_channels(measured: Measured, config: StructuredPruning) -> Outcome:
    """The network of ``measured`` without its least important groups of channels.

    Raises:
        TinyoptError: when there is nothing of that kind to remove.
    """
    graph = measured.module.graph
    weight_readers(graph, config.skip)  # checks the patterns
    coupling = trace(graph)
    chosen = [
        family
        for family in families(coupling)
        if not any(skipped(name, config.skip) for name in family.layers)
        and (config.unit == "all" or family.convolutional == (config.unit == "channels"))
        and len(family.groups) > 1
    ]
    frozen = frozen_layers(coupling)
    notes = tuple(f"pruning: '{name}' keeps its channels: {reason}" for name, reason in frozen.items())
    if not chosen:
        unit = "channels or neurons" if config.unit == "all" else config.unit
        raise TinyoptError(
            f"'{graph.name}' has no {unit} that could leave"
            + "".join(f"; '{name}': {reason}" for name, reason in list(frozen.items())[:3])
        )
    picker = _Picker(coupling, config, chosen, group_scores(coupling, measured))

    means = mean_inputs(coupling, measured) if config.compensate else None

    def without(removed: frozenset[int]) -> Graph:
        if not removed:
            return graph
        return remove_groups(coupling if means is None else compensated(coupling, removed, means), removed)

    def candidate(share: float) -> Graph:
        return without(picker.removed(picker.counts(share)))

    if config.target is None:
        assert config.amount is not None
        return Outcome(candidate(config.amount), notes)
    limit = limit_of(graph, config.target)
    outcome = bisect(graph, config.target, candidate, picker.total, limit)
    if outcome.share is None:
        return Outcome(outcome.graph, (*notes, *outcome.notes))
    return Outcome(*_given_back(picker, outcome, config.target, limit, without, notes))


def _given_back(
    picker: _Picker,
    outcome: Outcome,
    target: Target,
    limit: float,
    without: Callable[[frozenset[int]], Graph],
    notes: tuple[str, ...],
) -> tuple[Graph, tuple[str, ...]]:
    """What bisection took too much: one step of one layer after the other comes back where the limit allows it, the
    most important first."""
    assert outcome.share is not None
    graph, counts = outcome.graph, picker.counts(outcome.share)
    cost = cost_of(graph, target)
    for place in picker.by_importance(counts):
        trial = list(counts)
        trial[place] = max(trial[place] - picker.steps[place], 0)
        candidate = without(picker.removed(trial))
        found = cost_of(candidate, target)
        if cost < found <= limit:
            graph, counts, cost = candidate, trial, found
    return graph, (*notes, reached(cost, cost_of(picker.coupling.graph, target), target))


class _Picker:
    """Chooses groups by score, within the limits of the configuration."""

    def __init__(
        self, coupling: Coupling, config: StructuredPruning, chosen: list[Family], scores: dict[int, float]
    ) -> None:
        self.coupling, self.config, self.families, self.scores = coupling, config, chosen, scores
        self.ranked = [sorted(f.groups.tolist(), key=lambda g: (scores[g], g)) for f in chosen]
        self.limits = [self._limit(len(f.groups)) for f in chosen]
        queue = [(scores[g], g, place) for place, r in enumerate(self.ranked) for g in r[: self.limits[place]]]
        self.queue = sorted(queue)
        self.total = sum(len(f.groups) for f in chosen)
        self.steps = [config.multiple // math.gcd(config.multiple, family.channels) for family in chosen]

    def _limit(self, count: int) -> int:
        most = max(self.config.keep_at_least, math.ceil(count * (1 - self.config.layer_limit) - 1e-9), 1)
        return max(count - most, 0)

    def counts(self, share: float) -> list[int]:
        """How many groups of each family go when ``share`` of all (or of each layer's) are wanted."""
        if self.config.scope == "layer":
            counts = [min(int(share * len(r) + 1e-9), self.limits[place]) for place, r in enumerate(self.ranked)]
        else:
            counts = [0] * len(self.ranked)
            for _, _, place in self.queue[: int(share * self.total + 1e-9)]:
                counts[place] += 1
        return [self._aligned(place, count) for place, count in enumerate(counts)]

    def removed(self, counts: list[int]) -> frozenset[int]:
        """The least important groups of each family, so many of each; every tensor keeps one."""
        removed = {group for place, count in enumerate(counts) for group in self.ranked[place][:count]}
        best_first = sorted(self.scores, key=lambda g: -self.scores[g])
        return self.coupling.keeping_one(frozenset(removed), best_first)

    def by_importance(self, counts: list[int]) -> list[int]:
        """Families that lost something, the one whose next group to come back counts most first."""
        losers = [place for place, count in enumerate(counts) if count]
        return sorted(losers, key=lambda place: -self.scores[self.ranked[place][counts[place] - 1]])

    def _aligned(self, place: int, count: int) -> int:
        """How many groups of a family go, so that the rest is a multiple of what kernels like."""
        step, total = self.steps[place], len(self.ranked[place])
        kept = math.ceil((total - count) / step) * step
        return max(total - kept, 0)
