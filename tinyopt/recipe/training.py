"""The stages that train: from scratch, on, and with the roundings of integers; and what all training stages share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, TypeAlias

from tinyopt.bridge import to_graph, to_torch
from tinyopt.compress.distill import DistillSettings
from tinyopt.compress.prune import KeepZeros
from tinyopt.errors import TrainingError
from tinyopt.graph import Graph
from tinyopt.quantize.aware import FINE_TUNING, TEACHER_ALPHA, TEACHER_TEMPERATURE, QuantizationAware, train_aware
from tinyopt.recipe.data_sets import Role
from tinyopt.recipe.kinds import Context, Outcome, StageKind
from tinyopt.train import (
    Chain,
    HorizontalFlip,
    Noise,
    PadCrop,
    TimeShift,
    TrainResult,
    TrainSettings,
    fit,
    insert_batch_norms,
)
from tinyopt.train.augment import Augment
from tinyopt.train.log import describe

_LEARNING: frozenset[Role] = frozenset({"train"})
_CHECKING: frozenset[Role] = frozenset({"validation"})

Augmentations: TypeAlias = tuple[HorizontalFlip | PadCrop | TimeShift | Noise, ...]
"""Changes of training samples, one after the other."""


@dataclass(frozen=True)
class Training(TrainSettings):
    """The settings of ``tinyopt.train`` and ``augment``. ``keep_zeros``: weights that are zero at the start, as
    pruning leaves them, stay zero. ``batch_norms``: layers get one before training starts, where an imported model has
    none (see ``insert_batch_norms``)."""

    augment: Augmentations = ()
    keep_zeros: bool = False
    batch_norms: bool = False


@dataclass(frozen=True)
class FineTuning(Training):
    """Training that starts near its goal: a smaller learning rate, and what was pruned stays pruned."""

    learning_rate: float = 3e-4
    keep_zeros: bool = True


@dataclass(frozen=True)
class AwareTraining(TrainSettings):
    """Training with the roundings of integers: what the trainer uses by default for it."""

    epochs: int = FINE_TUNING.epochs
    batch_size: int = FINE_TUNING.batch_size
    learning_rate: float = FINE_TUNING.learning_rate
    warm_up_epochs: float = FINE_TUNING.warm_up_epochs
    augment: Augmentations = ()


@dataclass(frozen=True)
class Aware(QuantizationAware):
    """The configuration of quantization-aware training, and how to train. ``teacher``: ``original``, the name of an
    earlier stage, or a model file, whose scores are learned as well; ``temperature`` and ``alpha``: see
    ``DistillSettings``."""

    training: AwareTraining = field(default_factory=AwareTraining)
    teacher: str | None = None
    temperature: float = TEACHER_TEMPERATURE
    alpha: float = TEACHER_ALPHA

    def __post_init__(self) -> None:
        super().__post_init__()
        DistillSettings(self.temperature, self.alpha)  # refuses what makes no sense
        if self.teacher is None and (self.temperature, self.alpha) != (TEACHER_TEMPERATURE, TEACHER_ALPHA):
            raise TrainingError("temperature and alpha say how to learn from a teacher; name a teacher, too")


def settings_of(config: TrainSettings) -> TrainSettings:
    """The trainer's own settings, without what a stage adds."""
    return TrainSettings(**{f.name: getattr(config, f.name) for f in fields(TrainSettings)})


def devices(config: Any) -> list[str]:
    """The torch devices that a configuration trains on."""
    found = [config.device] if isinstance(config, TrainSettings) else []
    for entry in fields(config) if is_dataclass(config) and not isinstance(config, type) else ():
        found += devices(getattr(config, entry.name))
    return found


def augmentation(parts: Augmentations) -> Augment | None:
    """What the trainer applies to each batch."""
    return Chain(tuple(parts)) if parts else None


def training_facts(context: Context, result: TrainResult) -> dict[str, object]:
    """What a training run found; its epochs go to the log."""
    for epoch in result.history:
        context.log(describe(epoch))
    best = asdict(result.best)
    del best["seconds"]  # the only figure that differs from run to run
    return {"epochs": len(result.history), "best": best, "stopped_early": result.stopped_early}


def new_notes(before: Graph, after: Graph) -> tuple[str, ...]:
    """Notes of a graph that the one before did not have."""
    old = before.metadata.get("notes", "").splitlines()
    return tuple(line for line in after.metadata.get("notes", "").splitlines() if line and line not in old)


def _train(context: Context, config: Training) -> Outcome:
    samples = context.data.samples("train", context.graph)
    module = to_torch(insert_batch_norms(context.graph, samples) if config.batch_norms else context.graph)
    result = fit(
        module,
        samples,
        context.data.optional("validation", context.graph),
        settings_of(config),
        augment=augmentation(config.augment),
        callbacks=[KeepZeros()] if config.keep_zeros else [],
        folder=context.folder,
    )
    return Outcome(to_graph(module), training_facts(context, result))


def _quantize_aware(context: Context, config: Aware) -> Outcome:
    result = train_aware(
        context.graph,
        context.data.samples("train", context.graph),
        context.data.optional("validation", context.graph),
        QuantizationAware(**{f.name: getattr(config, f.name) for f in fields(QuantizationAware)}),
        settings_of(config.training),
        calibration=context.data.samples("calibration", context.graph),
        teacher=None if config.teacher is None else context.model(config.teacher),
        distillation=DistillSettings(config.temperature, config.alpha),
        augment=augmentation(config.training.augment),
        folder=context.folder,
    )
    facts = training_facts(context, result.training)
    return Outcome(result.graph, facts, new_notes(context.graph, result.graph))


def _teachers(config: Aware) -> tuple[str, ...]:
    return () if config.teacher is None else (config.teacher,)


TRAIN = StageKind("train", "train", Training, _train, "float", needs=_LEARNING, uses=_CHECKING)
FINE_TUNE = StageKind("fine_tune", "train on, gently", FineTuning, _train, "float", needs=_LEARNING, uses=_CHECKING)
AWARE = StageKind(
    "qat",
    "integers by training",
    Aware,
    _quantize_aware,
    "float",
    "int8",
    needs=frozenset({"train", "calibration"}),
    uses=_CHECKING,
    models=_teachers,
)
