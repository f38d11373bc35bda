"""Channels that leave over a training: masked little by little, or found by training and rewound to early values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from torch import nn

from tinyopt.bridge import GraphModule, to_graph, to_torch
from tinyopt.compress.prune.budget import Outcome, cost_of, limit_of, missed, reached
from tinyopt.compress.prune.config import GradualCubic, LotteryTicket, StructuredPruning
from tinyopt.compress.prune.coupling import Coupling
from tinyopt.compress.prune.cutting import masked_parts, remove_groups
from tinyopt.compress.prune.group_scores import group_scores
from tinyopt.compress.prune.modules import KeepZeros, WeightsAtStep, apply_masks, graph_module, share_due
from tinyopt.compress.prune.picking import Family, Picker
from tinyopt.compress.prune.scores import Measured
from tinyopt.compress.prune.structured import candidates, choose_channels, frozen_layers
from tinyopt.compress.prune.tracing import trace
from tinyopt.errors import TinyoptError
from tinyopt.graph import Array, Graph, Tensor
from tinyopt.train import Callback, Dataset, Loss, Position, TrainSettings


class Work(Protocol):
    """What a schedule is given: the data behind these."""

    @property
    def data(self) -> Dataset | None: ...

    @property
    def loss(self) -> Loss: ...

    def measured(self, module: GraphModule) -> Measured: ...

    def train(
        self, module: GraphModule, settings: TrainSettings, name: str, callbacks: tuple[Callback, ...] = ()
    ) -> None: ...

    def on_progress(self, done: int, total: int) -> None: ...


def check(config: StructuredPruning, schedule: GradualCubic | LotteryTicket) -> None:
    """Refuse what makes no sense together.

    Raises:
        TinyoptError: naming both and the way out.
    """
    name = type(schedule).__name__
    if config.unit == "layers":
        raise TinyoptError(
            f"{name} is for channels and neurons; layers leave at once: take OneShot or Iterative, or another unit"
        )
    if config.compensate:
        raise TinyoptError(
            f"compensation is for channels that leave at once (OneShot, Iterative); with {name} training does its work"
        )
    if isinstance(schedule, GradualCubic) and schedule.regrow is not None:
        raise TinyoptError("regrowth is for unstructured and block pruning; channels that left do not grow again")


# ---- gradual ------------------------------------------------------------------------------------------------------


class GradualChannels(Callback):
    """Masks channels while ``tinyopt.train.fit`` trains (see ``GradualCubic``): what reads them becomes zero, so that
    the network computes what it will without them. ``smaller`` takes them out afterwards.

    With an amount, the share of all groups (or of each layer's) follows the schedule, and every update ranks anew what
    is left. With a target, the first update decides how many channels each layer is to lose; shares of these follow
    the schedule, and which ones they are is ranked anew at every update. What is masked stays masked.

    Use it with ``restore_best=False``. Masks and choices are in checkpoints.

    Raises:
        TinyoptError: when training starts: nothing of that kind can leave, or layers share weights in a way that no
            mask expresses.
    """

    def __init__(
        self,
        config: StructuredPruning,
        schedule: GradualCubic,
        data: Dataset | None = None,
        *,
        loss: Loss | None = None,
    ) -> None:
        check(config, schedule)
        self.config, self.schedule, self.data, self.loss = config, schedule, data, loss
        self.removed: frozenset[int] = frozenset()
        self.wanted: tuple[int, ...] | None = None
        self.base: dict[str, Array] = {}

    def on_start(self, module: nn.Module) -> None:
        made = graph_module(module)
        graph = to_graph(made)
        coupling = trace(graph)
        chosen = candidates(coupling, self.config)
        names = column_masks(coupling, frozenset(int(g) for family in chosen for g in family.groups))
        values = {name: graph.tensors[name].value for name in names}
        self.base = {name: (value != 0) | (not value.any()) for name, value in values.items()}
        apply_masks(made, self.base)

    def on_step_end(self, position: Position) -> None:
        due = share_due(self.schedule, position)
        if due is not None:
            self._update(graph_module(position.module), due[0])

    def _update(self, module: GraphModule, share: float) -> None:
        device = next(module.parameters()).device
        measured = Measured(to_torch(to_graph(module)).to(device), self.config.criterion, self.data, self.loss)
        coupling = trace(measured.module.graph)
        if self.config.target is not None and self.wanted is None:
            self.wanted = choose_channels(measured, self.config).counts
        chosen = candidates(coupling, self.config)
        picker = Picker(coupling, self.config, chosen, group_scores(coupling, measured), self.removed)
        self.removed |= picker.removed(self._counts(picker, chosen, share))
        apply_masks(module, {n: self.base[n] & keep for n, keep in column_masks(coupling, self.removed).items()})

    def _counts(self, picker: Picker, chosen: list[Family], share: float) -> list[int]:
        present = [int(np.isin(family.groups, list(self.removed)).sum()) for family in chosen]
        if self.wanted is None:
            assert self.config.amount is not None
            counts = picker.counts(self.config.amount * share)
        else:
            counts = [int(share * count + 1e-9) for count in self.wanted]
        return [max(count, there) for count, there in zip(counts, present)]

    def smaller(self, graph: Graph) -> Graph:
        """The trained graph without the masked channels; it computes the same."""
        return remove_groups(trace(graph), self.removed) if self.removed else graph

    def state_dict(self) -> dict[str, Any]:
        wanted = None if self.wanted is None else list(self.wanted)
        return {"removed": sorted(int(g) for g in self.removed), "wanted": wanted}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.removed = frozenset(state["removed"])
        self.wanted = None if state["wanted"] is None else tuple(state["wanted"])


def column_masks(coupling: Coupling, removed: frozenset[int]) -> dict[str, Array]:
    """Constant → bool of its shape, False where only ``removed`` is read: under these masks nothing reads the groups.

    Raises:
        TinyoptError: when layers share a constant and want different masks of it.
    """
    graph = coupling.graph
    operators = {operator.name: operator for operator in graph.operators}
    keeps: dict[tuple[str, int], Array] = {}
    for cut, gone in masked_parts(coupling, removed):
        slot = (cut.operator, cut.position)
        value = graph.tensors[operators[cut.operator].inputs[cut.position]].value
        shape = [1] * value.ndim
        shape[cut.axis] = -1
        keeps[slot] = keeps.get(slot, np.ones(value.shape, bool)) & ~gone.reshape(shape)
    result: dict[str, Array] = {}
    for (operator, position), keep in keeps.items():
        name = operators[operator].inputs[position]
        for reader in graph.consumers[name]:
            for place, read in enumerate(reader.inputs):
                other = keeps.get((reader.name, place))
                if read == name and (other is None or not np.array_equal(other, keep)):
                    raise TinyoptError(
                        f"'{operator}' and '{reader.name}' share '{name}' but not the channels that they read: no mask "
                        "does for both. Skip one of them, or take OneShot or Iterative"
                    )
        result[name] = keep
    return result


def gradually(graph: Graph, config: StructuredPruning, schedule: GradualCubic, work: Work) -> Outcome:
    """One training, in which channels are masked; then they leave."""
    check(config, schedule)
    start = None if config.target is None else (cost_of(graph, config.target), limit_of(graph, config.target))
    module = to_torch(graph)
    callback = GradualChannels(config, schedule, work.data, loss=work.loss)
    settings = replace(schedule.train, restore_best=False, patience=None)
    work.train(module, settings, "gradual", (callback, KeepZeros()))
    result = callback.smaller(to_graph(module))
    work.on_progress(1, 1)
    notes = [f"pruning: '{name}' keeps its channels: {why}" for name, why in frozen_layers(trace(graph)).items()]
    if config.target is not None and start is not None:
        cost = cost_of(result, config.target)
        notes.append(
            missed(cost, start[1], config.target) if cost > start[1] else reached(cost, start[0], config.target)
        )
    return Outcome(result, tuple(notes))


# ---- lottery tickets ----------------------------------------------------------------------------------------------


def rewound(graph: Graph, config: StructuredPruning, schedule: LotteryTicket, work: Work) -> Outcome:
    """Trains; takes out the channels that the trained network can spare; trains what is left again, from the values
    that it had early in the first training. In rounds."""
    check(config, schedule)
    module = to_torch(graph)
    candidates(trace(graph), config)
    memory = WeightsAtStep(schedule.rewind_step)
    work.train(module, schedule.train, "round-0", (memory,))
    if not memory.weights:
        raise TinyoptError(f"training has fewer than {schedule.rewind_step} steps; rewind to an earlier one")
    early = graph.with_operators(
        graph.operators, [Tensor.constant(name, value.numpy()) for name, value in memory.weights.items()]
    )
    notes: tuple[str, ...] = ()
    for step in range(1, schedule.rounds + 1):
        trained = to_torch(to_graph(module))
        choice = choose_channels(work.measured(trained), stage_of(config, graph, step, schedule.rounds))
        notes = choice.notes
        if choice.removed:
            early = remove_groups(trace(early), choice.removed)
        module = to_torch(early)
        work.train(module, schedule.train, f"round-{step}")
        work.on_progress(step, schedule.rounds)
    return Outcome(to_graph(module), notes)


def stage_of(config: StructuredPruning, whole: Graph, step: int, steps: int) -> StructuredPruning:
    """The configuration of one of several steps, each of which takes the same share of what the one before left.
    ``whole``: the graph before the first."""
    stage = replace(config, layer_limit=1 - (1 - config.layer_limit) ** (1 / steps))
    if config.amount is not None:
        return replace(stage, amount=1 - (1 - config.amount) ** (1 / steps))
    assert config.target is not None
    start, limit = cost_of(whole, config.target), limit_of(whole, config.target)
    now = max(start, limit) * (limit / max(start, limit)) ** (step / steps)
    return replace(stage, target=replace(config.target, at_most=now, ratio=None))
