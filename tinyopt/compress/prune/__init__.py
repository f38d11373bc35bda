"""Pruning: weights become zero in patterns, or whole channels, neurons and layers leave.

One verb, ``prune(graph, config, data, schedule=...)``, and frozen configurations::

    smaller = prune(graph, StructuredPruning(amount=0.5, criterion=Taylor()), (x, y))
    sparse = prune(graph, NMPruning(2, 4), (x, y), schedule=Iterative(3, TrainSettings(epochs=2)))

For loops of one's own: ``find_masks``, ``apply_masks``, ``remove_masks``, and callbacks for ``tinyopt.train.fit``.
"""

from tinyopt.compress.prune.budget import missed_target
from tinyopt.compress.prune.config import (
    L1,
    L2,
    ActivationStatistics,
    BlockPruning,
    Criterion,
    GradualCubic,
    Iterative,
    LotteryTicket,
    NMPruning,
    OneShot,
    PruningConfig,
    Random,
    Schedule,
    StructuredPruning,
    Target,
    Taylor,
    UnstructuredPruning,
    WeightPruning,
)
from tinyopt.compress.prune.masks import Masks, masks_of
from tinyopt.compress.prune.modules import (
    GradualPruning,
    KeepZeros,
    MaskedWeight,
    WeightsAtStep,
    apply_masks,
    remove_masks,
)
from tinyopt.compress.prune.over_time import GradualChannels
from tinyopt.compress.prune.prune import find_masks, prune
from tinyopt.compress.prune.report import LayerPruning, PruningReport, pruning_report

__all__ = [
    "L1",
    "L2",
    "ActivationStatistics",
    "BlockPruning",
    "Criterion",
    "GradualChannels",
    "GradualCubic",
    "GradualPruning",
    "Iterative",
    "KeepZeros",
    "LayerPruning",
    "LotteryTicket",
    "MaskedWeight",
    "Masks",
    "NMPruning",
    "OneShot",
    "PruningConfig",
    "PruningReport",
    "Random",
    "Schedule",
    "StructuredPruning",
    "Target",
    "Taylor",
    "UnstructuredPruning",
    "WeightPruning",
    "WeightsAtStep",
    "apply_masks",
    "find_masks",
    "masks_of",
    "missed_target",
    "prune",
    "pruning_report",
    "remove_masks",
]
