"""The stages that make a float model smaller: prune, distill, factorize."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from tinyopt.bridge import to_graph, to_torch
from tinyopt.compress.distill import DistillSettings, distill_module
from tinyopt.compress.factorize import Factorization
from tinyopt.compress.factorize.factorize import explain
from tinyopt.compress.prune import (
    BlockPruning,
    GradualCubic,
    Iterative,
    KeepZeros,
    LotteryTicket,
    NMPruning,
    OneShot,
    StructuredPruning,
    UnstructuredPruning,
    missed_target,
    prune,
    pruning_report,
)
from tinyopt.recipe.board_cost import on_board
from tinyopt.recipe.kinds import Context, Outcome, StageKind
from tinyopt.recipe.training import Augmentations, augmentation, new_notes, training_facts


@dataclass(frozen=True)
class Prune:
    """``pruning``: what leaves, and by which measure; ``schedule``: how, and the training on the way; ``augment``: of
    that training. ``strict``: layers that the pruning does not apply to are an error."""

    pruning: UnstructuredPruning | NMPruning | BlockPruning | StructuredPruning
    schedule: OneShot | Iterative | GradualCubic | LotteryTicket = field(default_factory=OneShot)
    augment: Augmentations = ()
    strict: bool = False


def _prune(context: Context, config: Prune) -> Outcome:
    pruning = on_board(config.pruning, context.board)
    result = prune(
        context.graph,
        pruning,
        context.data.optional("train", context.graph),
        schedule=config.schedule,
        validation=context.data.optional("validation", context.graph),
        augment=augmentation(config.augment),
        folder=context.folder,
        strict=config.strict,
        on_progress=lambda done, total: context.on_progress("pruning", done, total),
    )
    facts = {k: v for k, v in pruning_report(context.graph, result).to_json().items() if k != "notes"}
    target = pruning.target if isinstance(pruning, StructuredPruning) else None
    missed = None if target is None else missed_target(context.graph, result, target)
    return Outcome(result, facts, new_notes(context.graph, result), missed)


@dataclass(frozen=True)
class Distill(DistillSettings):
    """The settings of distillation, and ``teacher``: ``original``, the name of an earlier stage, or a model file.
    ``keep_zeros``: weights that are zero, as pruning leaves them, stay zero."""

    teacher: str = field(kw_only=True)
    keep_zeros: bool = field(default=True, kw_only=True)
    augment: Augmentations = field(default=(), kw_only=True)


def _distill(context: Context, config: Distill) -> Outcome:
    module = to_torch(context.graph)
    result = distill_module(
        module,
        context.model(config.teacher),
        context.data.samples("train", context.graph),
        DistillSettings(**{f.name: getattr(config, f.name) for f in fields(DistillSettings)}),
        validation=context.data.optional("validation", context.graph),
        augment=augmentation(config.augment),
        callbacks=[KeepZeros()] if config.keep_zeros else [],
        folder=context.folder,
    )
    return Outcome(to_graph(module), training_facts(context, result))


def _teachers(config: Distill) -> tuple[str, ...]:
    return (config.teacher,)


def _factorize(context: Context, config: Factorization) -> Outcome:
    graph, report = explain(
        context.graph,
        on_board(config, context.board),
        seed=context.seed,
        on_progress=lambda done, total: context.on_progress("layers", done, total),
    )
    facts: dict[str, Any] = {
        "parameters_before": report.parameters_before,
        "parameters": report.parameters_after,
        "macs_before": report.macs_before,
        "macs": report.macs_after,
        "layers": [
            {"name": r.name, "method": r.method, "ranks": list(r.ranks), "discarded": round(r.discarded, 6)}
            for r in report.layers
        ],
    }
    for line in report.table().splitlines():
        context.log(line)
    left = tuple(f"factorization: '{row.name}' is left as it is: {row.reason}" for row in report.left)
    return Outcome(graph, facts, left, report.missed)


KINDS = (
    StageKind(
        "prune",
        "fewer weights, channels or layers",
        Prune,
        _prune,
        takes="float",
        gives="float",
        uses=frozenset({"train", "validation"}),
    ),
    StageKind("factorize", "layers as products of smaller ones", Factorization, _factorize, takes="float"),
    StageKind(
        "distill",
        "learn from a larger model",
        Distill,
        _distill,
        takes="float",
        needs=frozenset({"train"}),
        uses=frozenset({"validation"}),
        models=_teachers,
    ),
)
"""In the order in which they are usually run."""
