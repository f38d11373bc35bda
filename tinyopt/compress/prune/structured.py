"""Structured pruning: which groups of channels and neurons leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tinyopt.compress.prune.budget import Outcome, bisect, cost_of, limit_of, missed, nothing_to_do, reached
from tinyopt.compress.prune.compensation import compensated, input_statistics
from tinyopt.compress.prune.config import StructuredPruning, Target
from tinyopt.compress.prune.coupling import NO_ATOM, Coupling, Role
from tinyopt.compress.prune.cutting import remove_groups
from tinyopt.compress.prune.group_scores import group_scores
from tinyopt.compress.prune.picking import Family, Picker
from tinyopt.compress.prune.scores import Measured, skipped, weight_readers
from tinyopt.compress.prune.tracing import trace
from tinyopt.errors import TinyoptError
from tinyopt.graph import Graph, ops

_CONVOLUTIONS = (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d)


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


@dataclass(frozen=True, eq=False)
class Choice:
    """``removed``: the groups of ``coupling`` that leave. ``counts``: how many of each of ``families``. ``graph``:
    without them, what they gave made up for where the configuration asks for it."""

    coupling: Coupling
    families: tuple[Family, ...]
    counts: tuple[int, ...]
    removed: frozenset[int]
    graph: Graph
    notes: tuple[str, ...] = ()


def candidates(coupling: Coupling, config: StructuredPruning) -> list[Family]:
    """The families that the configuration lets shrink.

    Raises:
        TinyoptError: when there are none, or a pattern of ``skip`` fits nothing.
    """
    graph = coupling.graph
    weight_readers(graph, config.skip)  # checks the patterns
    chosen = [
        family
        for family in families(coupling)
        if not any(skipped(name, config.skip) for name in family.layers)
        and (config.unit == "all" or family.convolutional == (config.unit == "channels"))
        and len(family.groups) > 1
    ]
    if not chosen:
        unit = "channels or neurons" if config.unit == "all" else config.unit
        raise TinyoptError(
            f"'{graph.name}' has no {unit} that could leave"
            + "".join(f"; '{name}': {reason}" for name, reason in list(frozen_layers(coupling).items())[:3])
        )
    return chosen


def prune_channels(measured: Measured, config: StructuredPruning) -> Outcome:
    """The network of ``measured`` without its least important groups of channels.

    Raises:
        TinyoptError: when there is nothing of that kind to remove.
    """
    choice = choose_channels(measured, config)
    return Outcome(choice.graph, choice.notes)


def choose_channels(measured: Measured, config: StructuredPruning) -> Choice:
    """Which groups leave the network of ``measured``.

    Raises:
        TinyoptError: when there is nothing of that kind to remove.
    """
    graph = measured.module.graph
    coupling = trace(graph)
    chosen = candidates(coupling, config)
    notes = tuple(f"pruning: '{name}' keeps its channels: {why}" for name, why in frozen_layers(coupling).items())
    picker = Picker(coupling, config, chosen, group_scores(coupling, measured))
    kind: Literal["mean", "linear"] = "linear" if config.compensate == "linear" else "mean"
    statistics = input_statistics(coupling, measured, kind) if config.compensate else None

    def without(removed: frozenset[int]) -> Graph:
        if not removed:
            return graph
        source = coupling if statistics is None else compensated(coupling, removed, statistics)
        return remove_groups(source, removed)

    def made(counts: list[int], *more: str) -> Choice:
        removed = picker.removed(counts)
        return Choice(coupling, tuple(chosen), tuple(counts), removed, without(removed), (*notes, *more))

    def candidate(share: float) -> Graph:
        return without(picker.removed(picker.counts(share)))

    if config.target is None:
        assert config.amount is not None
        return made(picker.counts(config.amount))
    target, limit = config.target, limit_of(graph, config.target)
    if config.scope in ("layer", "global"):
        outcome = bisect(graph, target, candidate, picker.total, limit)
        assert outcome.share is not None
        counts = picker.counts(outcome.share)
        if outcome.share == 0:
            return made(counts, *outcome.notes)
    else:
        start = cost_of(graph, target)
        if start <= limit:
            return made([0] * len(chosen), nothing_to_do(start, limit, target))
        counts = _step_by_step(picker, measured, target, limit, without)
    counts, cost = _given_back(picker, counts, target, limit, without)
    note = missed(cost, limit, target) if cost > limit else reached(cost, cost_of(graph, target), target)
    return made(counts, note)


_Without = Callable[[frozenset[int]], Graph]


def _step_by_step(picker: Picker, measured: Measured, target: Target, limit: float, without: _Without) -> list[int]:
    """How many groups of each family go, by what each step costs and saves."""

    def price(counts: list[int]) -> float:
        return cost_of(without(picker.removed(counts)), target)

    def harm(counts: list[int]) -> float:
        return measured.loss_of(without(picker.removed(counts)))

    return picker.by_cost(price, limit, harm if picker.config.scope == "trial" else None)


def _given_back(
    picker: Picker, counts: list[int], target: Target, limit: float, without: _Without
) -> tuple[list[int], float]:
    """What was taken too much: one step of one layer after the other comes back where the limit allows it, the most
    important first. With the cost of what came of it."""
    cost = cost_of(without(picker.removed(counts)), target)
    while True:
        before = cost
        for place in picker.by_importance(counts):
            trial = list(counts)
            trial[place] = max(trial[place] - picker.steps[place], 0)
            found = cost_of(without(picker.removed(trial)), target)
            if cost < found <= limit:
                counts, cost = trial, found
        if cost == before or cost > limit:
            return counts, cost
