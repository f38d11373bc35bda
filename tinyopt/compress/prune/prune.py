"""The verb: a graph in, a pruned graph out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinyopt.bridge import GraphModule, dequantize_graph, to_graph, to_torch
from tinyopt.compress.prune.budget import Outcome
from tinyopt.compress.prune.config import (
    GradualCubic,
    Iterative,
    LotteryTicket,
    NMPruning,
    OneShot,
    PruningConfig,
    Schedule,
    StructuredPruning,
    Taylor,
    WeightPruning,
)
from tinyopt.compress.prune.layers import prune_layers
from tinyopt.compress.prune.masks import Masks, choose_masks, prunable_weights
from tinyopt.compress.prune.modules import GradualPruning, KeepZeros, WeightsAtStep, apply_masks, mask_of
from tinyopt.compress.prune.over_time import gradually, rewound, stage_of
from tinyopt.compress.prune.scores import Measured, needs_data, skipped, weight_readers, weight_scores, without_kinds
from tinyopt.compress.prune.structured import frozen_layers, prune_channels
from tinyopt.compress.prune.tracing import trace
from tinyopt.data import Samples
from tinyopt.errors import DataError, ModelError, NotApplicableError, TinyoptError
from tinyopt.graph import Graph
from tinyopt.train import Callback, CrossEntropy, Dataset, DatasetLike, Loss, TrainSettings, fit
from tinyopt.train.augment import Augment
from tinyopt.train.dataset import as_dataset

OnProgress = Callable[[int, int], None]


def _ignore(done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class _Work:
    """What all schedules share."""

    config: Any
    data: Dataset | None
    validation: DatasetLike | None
    loss: Loss
    augment: Augment | None
    progress: OnProgress
    folder: Path | None

    def on_progress(self, done: int, total: int) -> None:
        self.progress(done, total)

    def measured(self, module: GraphModule) -> Measured:
        return Measured(module, self.config.criterion, self.data, self.loss)

    def train(
        self, module: GraphModule, settings: TrainSettings, name: str, callbacks: tuple[Callback, ...] = ()
    ) -> None:
        """``name``: of this training among all of the schedule."""
        assert self.data is not None
        fit(
            module,
            self.data,
            self.validation,
            settings,
            loss=self.loss,
            augment=self.augment,
            callbacks=callbacks,
            folder=None if self.folder is None else self.folder / name,
            progress=False,
        )


def prune(
    graph: Graph,
    config: PruningConfig,
    data: DatasetLike | None = None,
    *,
    schedule: Schedule | None = None,
    validation: DatasetLike | None = None,
    loss: Loss | None = None,
    augment: Augment | None = None,
    folder: str | Path | None = None,
    strict: bool = False,
    on_progress: OnProgress = _ignore,
) -> Graph:
    """A float graph with fewer weights that count.

    ``config``: single weights (``UnstructuredPruning``), patterns (``NMPruning``, ``BlockPruning``) become zeros in a
    graph of the same shapes; ``StructuredPruning`` gives a smaller graph. ``data``: samples for criteria that look at
    activations (labels are not needed), and labelled ones for Taylor and for schedules that train. ``validation``,
    ``loss`` (cross-entropy), ``augment``: as in ``tinyopt.train.fit``. ``schedule``: ``OneShot()`` by default.
    ``folder``: for the checkpoints of every training of the schedule; the same call goes on from there after an
    interruption, to the same result. ``strict``: a layer to which the pruning does not apply, and that the
    configuration does not skip, is an error; else it is left as it is. ``on_progress``: called with (steps done, steps)
    of the schedule.

    What there is to tell (layers that keep their channels and why, a target that was missed) is in the graph's notes;
    ``pruning_report(before, after)`` has the figures. The names of constants stay.

    Raises:
        ModelError: when the graph is quantized: pruning comes first.
        NotApplicableError: when ``strict`` and there are layers to which the pruning does not apply.
        DataError: when a criterion or a schedule needs data and there are none, or they do not fit.
        TinyoptError: when nothing in the graph fits the configuration.
    """
    if graph.is_quantized:
        raise ModelError(
            f"'{graph.name}' is quantized; prune the float model first, then quantize it (or start from "
            "tinyopt.bridge.dequantize_graph)"
        )
    graph = dequantize_graph(graph)  # layers with run-time ranges
    if isinstance(config, StructuredPruning):
        config = replace(config, skip=without_kinds(graph, config.skip))
    if strict and (left := _left_alone(graph, config)):
        raise NotApplicableError(
            "pruning", left, advice="Skip these layers by name, or leave out 'strict': they are then left as they are."
        )
    schedule = schedule or OneShot()
    module = to_torch(graph)
    labelled = isinstance(config.criterion, Taylor) or _trains(schedule) or _tries(config)
    work = _Work(
        config,
        _dataset(data, module, loss, labelled, _looks_at_data(config)),
        validation,
        loss or CrossEntropy(),
        augment,
        on_progress,
        None if folder is None else Path(folder),
    )
    if isinstance(config, StructuredPruning):
        outcome = _prune_structure(graph, config, schedule, work)
    else:
        outcome = _prune_weights(module, config, schedule, work)
    return _noted(outcome, graph)


def _looks_at_data(config: PruningConfig) -> bool:
    return needs_data(config.criterion) or (isinstance(config, StructuredPruning) and bool(config.compensate))


def _tries(config: PruningConfig) -> bool:
    return isinstance(config, StructuredPruning) and config.scope == "trial"


def _trains(schedule: Schedule) -> bool:
    if isinstance(schedule, (OneShot, Iterative)):
        return schedule.fine_tune is not None
    return True


def _dataset(
    data: DatasetLike | None, module: GraphModule, loss: Loss | None, labelled: bool, needed: bool
) -> Dataset | None:
    if data is None:
        if labelled:
            raise DataError(
                "training, trials and the Taylor criterion need data with labels; give data=(inputs, labels)"
            )
        if needed:
            raise DataError("this criterion (or compensation) needs data; give some, or use L1 or L2")
        return None
    if not labelled and not needed:
        return None
    if isinstance(data, Samples) and data.labels is None and not labelled:
        data = replace(data, labels=np.zeros(len(data), np.int64))
    classes = module.graph.tensors[module.graph.outputs[0]].size if labelled and loss is None else None
    return as_dataset(data, module, what="pruning data", classes=classes)


def _noted(outcome: Outcome, before: Graph) -> Graph:
    graph = outcome.graph
    notes = [*before.metadata.get("notes", "").splitlines(), *outcome.notes]
    notes = list(dict.fromkeys(note for note in notes if note))
    metadata = dict(graph.metadata)
    if notes:
        metadata["notes"] = "\n".join(notes)
    return replace(graph, metadata=metadata)


# ---- masks ----------------------------------------------------------------------------------------------------


def find_masks(
    module: GraphModule,
    config: WeightPruning,
    data: Dataset | None = None,
    *,
    loss: Loss | None = None,
) -> Masks:
    """Masks for a module as it is now, for loops of one's own: constant → bool, True stays. What is masked on the
    module already stays masked.

    Raises:
        TinyoptError: when no weights of the graph fit the configuration.
    """
    names = prunable_weights(module.graph, config)
    if not names:
        raise TinyoptError(f"'{module.graph.name}' has no weights that {type(config).__name__} applies to")
    scores = weight_scores(Measured(module, config.criterion, data, loss), names)
    for name in names:
        mask = mask_of(module, name)
        if mask is not None:
            scores[name] = np.where(mask.keep.cpu().numpy(), scores[name], -np.inf)
    return choose_masks(module.graph, config, scores)


def _prune_weights(module: GraphModule, config: WeightPruning, schedule: Schedule, work: _Work) -> Outcome:
    if isinstance(schedule, OneShot):
        schedule = Iterative(1, schedule.fine_tune)
    notes = _left_alone(module.graph, config)
    if isinstance(schedule, GradualCubic):
        if not prunable_weights(module.graph, config):
            raise TinyoptError(f"'{module.graph.name}' has no weights that {type(config).__name__} applies to")
        callback = GradualPruning(config, schedule, work.data, loss=work.loss, seed=schedule.train.seed)
        settings = replace(schedule.train, restore_best=False, patience=None)
        work.train(module, settings, "gradual", (callback, KeepZeros()))
        work.on_progress(1, 1)
        return Outcome(to_graph(module), notes)
    rewind: WeightsAtStep | None = None
    steps = schedule.rounds if isinstance(schedule, LotteryTicket) else schedule.steps
    if isinstance(schedule, LotteryTicket):
        rewind = WeightsAtStep(schedule.rewind_step)
        work.train(module, schedule.train, "round-0", (rewind,))
        if not rewind.weights:
            raise TinyoptError(f"training has fewer than {schedule.rewind_step} steps; rewind to an earlier one")
    training = schedule.train if isinstance(schedule, LotteryTicket) else schedule.fine_tune
    for step in range(1, steps + 1):
        stage = config.at(1 - (1 - config.amount) ** (step / steps))
        if stage is not None:
            apply_masks(module, find_masks(module, stage, work.data, loss=work.loss))
        if rewind is not None:
            _put_back(module, rewind)
        if training is not None:
            work.train(module, training, f"round-{step}", () if rewind else (KeepZeros(),))
        work.on_progress(step, steps)
    return Outcome(to_graph(module), notes)


def _left_alone(graph: Graph, config: PruningConfig) -> tuple[str, ...]:
    """Layers that the pruning does not apply to, and why: those that an n:m pattern does not fit, those whose channels
    cannot leave."""
    if isinstance(config, StructuredPruning):
        if config.unit == "layers":
            return ()
        frozen = frozen_layers(trace(graph))
        return tuple(
            f"pruning: '{name}' keeps its channels: {reason}"
            for name, reason in frozen.items()
            if not skipped(name, config.skip)
        )
    if not isinstance(config, NMPruning):
        return ()
    chosen = set(prunable_weights(graph, config))
    return tuple(
        f"pruning: '{operator.name}' ({operator.kind}) has too few weights per output channel for {config.n}:{config.m}"
        for name, (operator, _) in weight_readers(graph, config.skip, config.layers).items()
        if name not in chosen
    )


def _put_back(module: GraphModule, rewind: WeightsAtStep) -> None:
    """Every constant takes its earlier value; masks stay."""
    with torch.no_grad():
        for name, value in rewind.weights.items():
            attribute = module.attribute(name)
            if mask_of(module, name) is None:
                getattr(module.weights, attribute).copy_(value)
            else:
                chain: Any = getattr(module.weights.parametrizations, attribute)
                chain.original.copy_(value)


# ---- structure ------------------------------------------------------------------------------------------------


def _prune_structure(graph: Graph, config: StructuredPruning, schedule: Schedule, work: _Work) -> Outcome:
    if isinstance(schedule, GradualCubic):
        return gradually(graph, config, schedule, work)
    if isinstance(schedule, LotteryTicket):
        return rewound(graph, config, schedule, work)
    steps = 1 if isinstance(schedule, OneShot) else schedule.steps
    whole = graph
    notes: list[str] = []
    for step in range(1, steps + 1):
        stage = stage_of(config, whole, step, steps)
        module = to_torch(graph)
        measured = work.measured(module)
        outcome = prune_layers(measured, stage) if config.unit == "layers" else prune_channels(measured, stage)
        graph = outcome.graph
        notes = [*notes, *outcome.notes] if config.unit == "layers" else list(outcome.notes)
        if schedule.fine_tune is not None:
            module = to_torch(graph)
            work.train(module, schedule.fine_tune, f"round-{step}", (KeepZeros(),))
            graph = to_graph(module)
        work.on_progress(step, steps)
    return Outcome(graph, tuple(notes))
