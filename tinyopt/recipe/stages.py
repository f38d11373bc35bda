"""What the stages of a recipe do. Each calls one verb of tinyopt with the configuration that the recipe gives it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Literal

from tinyopt.bridge import to_graph, to_torch
from tinyopt.errors import MismatchError, RecipeError
from tinyopt.graph import Graph
from tinyopt.pipeline import Progress, plan_for, run_on_board
from tinyopt.quantize import PostTraining, quantize
from tinyopt.quantize.aware import FINE_TUNING, QuantizationAware, train_aware
from tinyopt.recipe.kinds import Context, Outcome, Role, StageKind
from tinyopt.train import (
    Chain,
    HorizontalFlip,
    Noise,
    PadCrop,
    TimeShift,
    TrainResult,
    TrainSettings,
    fit,
)
from tinyopt.train.augment import Augment
from tinyopt.train.log import describe

_LEARNING: frozenset[Role] = frozenset({"train"})
_CHECKING: frozenset[Role] = frozenset({"validation"})


# ---- training -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training(TrainSettings):
    """The settings of ``tinyopt.train`` and ``augment``: changes of training samples, one after the other."""

    augment: tuple[HorizontalFlip | PadCrop | TimeShift | Noise, ...] = ()


@dataclass(frozen=True)
class FineTuning(Training):
    """Training that starts near its goal: a smaller learning rate."""

    learning_rate: float = 3e-4


def settings_of(config: TrainSettings) -> TrainSettings:
    """The trainer's own settings, without what a stage adds."""
    return TrainSettings(**{f.name: getattr(config, f.name) for f in fields(TrainSettings)})


def augmentation(config: Training) -> Augment | None:
    """What the trainer applies to each batch."""
    return Chain(tuple(config.augment)) if config.augment else None


def training_facts(context: Context, result: TrainResult) -> dict[str, object]:
    """What a training run found; its epochs go to the log."""
    for epoch in result.history:
        context.log(describe(epoch))
    best = asdict(result.best)
    del best["seconds"]  # the only figure that differs from run to run
    return {"epochs": len(result.history), "best": best, "stopped_early": result.stopped_early}


def _train(context: Context, config: Training) -> Outcome:
    module = to_torch(context.graph)
    result = fit(
        module,
        context.data.samples("train", context.graph),
        context.data.optional("validation", context.graph),
        settings_of(config),
        augment=augmentation(config),
        folder=context.folder,
    )
    return Outcome(to_graph(module), training_facts(context, result))


# ---- quantization ---------------------------------------------------------------------------------------------


def _quantize(context: Context, config: PostTraining) -> Outcome:
    result = quantize(
        context.graph,
        context.data.samples("calibration", context.graph),
        config,
        on_progress=lambda done, total: context.on_progress("calibration", done, total),
        on_technique=context.on_progress,
    )
    return Outcome(result, notes=new_notes(context.graph, result))


@dataclass(frozen=True)
class AwareTraining(Training):
    """Training with the roundings of integers: what the trainer uses by default for it."""

    epochs: int = FINE_TUNING.epochs
    batch_size: int = FINE_TUNING.batch_size
    learning_rate: float = FINE_TUNING.learning_rate
    warm_up_epochs: float = FINE_TUNING.warm_up_epochs


@dataclass(frozen=True)
class Aware(QuantizationAware):
    """The configuration of quantization-aware training, and how to train."""

    training: AwareTraining = field(default_factory=AwareTraining)


def _quantize_aware(context: Context, config: Aware) -> Outcome:
    result = train_aware(
        context.graph,
        context.data.samples("train", context.graph),
        context.data.optional("validation", context.graph),
        QuantizationAware(**{f.name: getattr(config, f.name) for f in fields(QuantizationAware)}),
        settings_of(config.training),
        calibration=context.data.samples("calibration", context.graph),
        augment=augmentation(config.training),
        folder=context.folder,
    )
    facts = training_facts(context, result.training)
    return Outcome(result.graph, facts, new_notes(context.graph, result.graph))


def new_notes(before: Graph, after: Graph) -> tuple[str, ...]:
    """Notes of a graph that the one before did not have."""
    old = before.metadata.get("notes", "").splitlines()
    return tuple(line for line in after.metadata.get("notes", "").splitlines() if line and line not in old)


# ---- the board ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compile:
    """The generated project. ``project``: its kind; ``name``: prefix of the C names."""

    project: Literal["cmake", "platformio", "library"] = "cmake"
    name: str = "model"


@dataclass(frozen=True)
class Run:
    """The test data on the board. ``limit``: the first so many samples; None: all."""

    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise RecipeError(f"a limit of {self.limit} samples leaves nothing to run")


def _compile(context: Context, config: Compile) -> Outcome:
    from tinyopt.generate import generate

    plan = plan_for(context.graph, context.board, objective=context.objective)
    generate(plan, context.output, name=config.name, project=config.project)
    facts = {
        "project": context.output.name,
        "arena_bytes": plan.arena_bytes,
        "weights_bytes": plan.weights_bytes,
        "predicted_cycles": round(plan.cycles),
    }
    return Outcome(context.graph, facts)


def _run(context: Context, config: Run) -> Outcome:
    samples = context.data.samples("test", context.graph)
    result = run_on_board(
        context.graph,
        context.board,
        samples.limit(config.limit) if config.limit else samples,
        objective=context.objective,
        steps=Progress(
            reference=lambda done, total: context.on_progress("reference", done, total),
            device=lambda done, total: context.on_progress(context.board.name, done, total),
        ),
    )
    report = result.report
    if report.mismatches:
        raise MismatchError(
            f"{report.mismatches} of {report.samples} samples differ from the reference; first: {report.first_mismatch}"
        )
    facts = report.to_json()
    del facts["seconds"]
    return Outcome(context.graph, facts, report.notes)


KINDS = (
    StageKind("train", "train", Training, _train, "float", needs=_LEARNING, uses=_CHECKING),
    StageKind("fine_tune", "train on", FineTuning, _train, "float", needs=_LEARNING, uses=_CHECKING),
    StageKind(
        "quantize",
        "int8 after training",
        PostTraining,
        _quantize,
        "float",
        "int8",
        needs=frozenset({"calibration"}),
    ),
    StageKind(
        "qat",
        "int8 by training",
        Aware,
        _quantize_aware,
        "float",
        "int8",
        needs=frozenset({"train", "calibration"}),
        uses=_CHECKING,
    ),
    StageKind("compile", "C sources", Compile, _compile, board=True, writes=True),
    StageKind("run", "run on the board", Run, _run, needs=frozenset({"test"}), board=True),
)
"""Every kind of stage, in the order in which they are usually run."""
