"""Training for integers with the plain trainer; ``prepare`` and ``convert_trained`` suit a loop of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from tinyopt.bridge import GraphModule
from tinyopt.data import Spec
from tinyopt.errors import TrainingError
from tinyopt.graph import Graph
from tinyopt.quantize.aware.activations import ClippingQuantizer, LearnedClipping
from tinyopt.quantize.aware.config import QuantizationAware
from tinyopt.quantize.aware.convert import convert_trained
from tinyopt.quantize.aware.module import AwareModule
from tinyopt.quantize.aware.prepare import prepare
from tinyopt.train import Callback, DatasetLike, Loss, Position, TrainResult, TrainSettings, fit
from tinyopt.train.augment import Augment
from tinyopt.train.dataset import as_dataset

if TYPE_CHECKING:
    from tinyopt.compress.distill import DistillSettings, TeacherLike

CALIBRATION_SAMPLES = 256
"""Training samples, spread over the data, that calibrate where no other data are given."""
FINE_TUNING = TrainSettings(epochs=10, batch_size=32, learning_rate=5e-4, warm_up_epochs=0.5)
"""Smaller steps than from scratch: the network is trained already."""
TEACHER_TEMPERATURE, TEACHER_ALPHA = 2.0, 0.95
"""How much a teacher's scores are softened, and their weight against the labels, where nothing else is said."""


@dataclass(frozen=True, eq=False)
class AwareResult:
    """``graph``: the integers. ``module``: what was trained. ``training``: its history."""

    graph: Graph
    module: AwareModule
    training: TrainResult


def quantize_aware(
    graph: Graph | GraphModule,
    train: DatasetLike,
    validation: DatasetLike | None = None,
    config: QuantizationAware | None = None,
    settings: TrainSettings | None = None,
    **options: Any,
) -> Graph:
    """A float network as int8 that was trained with its roundings; see ``train_aware`` for the options and errors."""
    return train_aware(graph, train, validation, config, settings, **options).graph


def train_aware(
    graph: Graph | GraphModule,
    train: DatasetLike,
    validation: DatasetLike | None = None,
    config: QuantizationAware | None = None,
    settings: TrainSettings | None = None,
    *,
    calibration: Spec | None = None,
    loss: Loss | Literal["cross_entropy", "mean_squared_error"] = "cross_entropy",
    teacher: TeacherLike | None = None,
    distillation: DistillSettings | None = None,
    augment: Augment | None = None,
    callbacks: Sequence[Callback] = (),
    folder: str | Path | None = None,
    resume: bool = True,
    progress: bool | None = None,
) -> AwareResult:
    """``quantize_aware``, with the module and the history of its training.

    ``calibration``: what gives the ranges to start from; by default 256 samples of the training data. ``teacher``: a
    graph, file or module whose scores are learned as well, often the float network itself; ``distillation`` says how
    (its softened scores; hints are for a loop of one's own). The rest is as in ``tinyopt.train.fit``; a run with a
    ``folder`` goes on after an interruption and ends with the same integers.

    Raises:
        ModelError: when the graph is quantized already.
        DataError: when data do not fit, or an override of the configuration names no layer.
        TrainingError: as ``fit`` does.
    """
    config, settings = config or QuantizationAware(), settings or FINE_TUNING
    module = prepare(graph, _calibration_of(graph, train) if calibration is None else calibration, config)
    result = fit(
        module,
        train,
        validation,
        settings,
        loss=loss if teacher is None else _distillation(module, teacher, distillation, loss),
        augment=augment,
        callbacks=[FreezeAfter(config.freeze_batch_norm, config.freeze_ranges), *callbacks],
        parameters=parameter_groups(module, settings),
        folder=folder,
        resume=resume,
        progress=progress,
    )
    return AwareResult(convert_trained(module), module, result)


def _distillation(
    module: AwareModule, teacher: TeacherLike, settings: DistillSettings | None, loss: Loss | str
) -> Loss:
    from tinyopt.compress.distill import DistillationLoss, DistillSettings

    settings = settings or DistillSettings(temperature=TEACHER_TEMPERATURE, alpha=TEACHER_ALPHA)
    if loss != "cross_entropy":
        raise TrainingError("a teacher brings its own loss; leave out either the teacher or the loss")
    if settings.hints or settings.attention:
        raise TrainingError("hints and attention maps need a training loop of your own around DistillationLoss")
    return DistillationLoss(module, teacher, settings)


def parameter_groups(module: AwareModule, settings: TrainSettings) -> list[dict[str, Any]]:
    """The parameters for ``fit``: weight decay on weights, none on biases, normalisations, steps and scales, its own
    on learned clipping."""
    config = module.intent.config
    decay = config.activations.decay if isinstance(config.activations, LearnedClipping) else 0.0
    clipping = [p for part in module.modules() if isinstance(part, ClippingQuantizer) for p in part.parameters()]
    scales = [part.ratio for part in module.weight_quantizers().values() if part.ratio is not None]
    apart = {id(p) for p in (*clipping, *scales)}
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in apart]
    return [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [*(p for p in rest if p.ndim <= 1), *scales], "weight_decay": 0.0},
        {"params": clipping, "weight_decay": decay},
    ]


class FreezeAfter(Callback):
    """Keeps the statistics of batch norms, and ranges and scales, as they are after a share of the epochs.

    None: never.

    Batch norms then use their running statistics in training too, which is what the integers have.
    """

    def __init__(self, batch_norm: float | None, ranges: float | None) -> None:
        self.batch_norm, self.ranges = batch_norm, ranges
        self._module: AwareModule | None = None

    def on_start(self, module: nn.Module) -> None:
        if not isinstance(module, AwareModule):
            raise TrainingError("only modules of tinyopt.quantize.aware.prepare have ranges to freeze")
        self._module = module

    def on_epoch_start(self, position: Position) -> None:
        self._freeze(position.epoch / position.epochs)

    def state_dict(self) -> dict[str, Any]:
        assert self._module is not None
        return {"batch_norm": self._module.batch_norm_momentum is None, "ranges": self._frozen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        assert self._module is not None
        if state["batch_norm"]:
            self._module.batch_norm_momentum = None
        if state["ranges"]:
            self._freeze_ranges()

    _frozen = False

    def _freeze(self, share: float) -> None:
        assert self._module is not None
        if self.batch_norm is not None and share >= self.batch_norm:
            self._module.batch_norm_momentum = None
        if self.ranges is not None and share >= self.ranges:
            self._freeze_ranges()

    def _freeze_ranges(self) -> None:
        assert self._module is not None
        self._module.freeze_ranges()
        self._frozen = True


def _calibration_of(graph: Graph | GraphModule, train: DatasetLike) -> Spec:
    from tinyopt.bridge import to_torch
    from tinyopt.data import Samples

    module = graph if isinstance(graph, GraphModule) else to_torch(graph)
    data = as_dataset(train, module, what="training data")
    count = len(data)
    chosen = [round(i * (count - 1) / max(CALIBRATION_SAMPLES - 1, 1)) for i in range(CALIBRATION_SAMPLES)]
    part = sorted(set(chosen))
    names = module.graph.inputs
    return Samples.from_arrays({n: x[part] for n, x in zip(names, data.inputs)}, module.graph, source=data.source)
