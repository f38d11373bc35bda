"""Training a small network on what a large one knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tinyopt.bridge import GraphModule, to_graph, to_torch
from tinyopt.compress.distill.loss import DistillationLoss
from tinyopt.compress.distill.settings import DistillSettings
from tinyopt.compress.distill.teacher import Teacher, TeacherLike
from tinyopt.data import Samples
from tinyopt.errors import DataError, TrainingError
from tinyopt.graph import Array, Graph
from tinyopt.train import Callback, Dataset, DatasetLike, TrainResult, fit
from tinyopt.train.augment import Augment
from tinyopt.train.dataset import as_dataset
from tinyopt.train.fit import usable_device


def distill(
    student: Graph,
    teacher: TeacherLike,
    data: DatasetLike,
    settings: DistillSettings | None = None,
    *,
    validation: DatasetLike | None = None,
    augment: Augment | None = None,
    callbacks: Sequence[Callback] = (),
    folder: str | Path | None = None,
    resume: bool = True,
    progress: bool | None = None,
) -> Graph:
    """The student (a float graph, trained or not) after learning from a teacher.

    ``teacher``: a graph (a quantized one is used as the float network that it approximates), a model file, a torch
    module, a function from a batch of each input to scores or probabilities, or a list of such: classifiers that teach
    the mean of their probabilities. Scores are taken before a softmax at
    the end of a graph. The other arguments are those of ``tinyopt.train.fit``; with ``alpha`` of 1, data need no
    labels. The teacher sees what the student sees: without augmentation and hints it runs once for every sample, else
    in every step.

    Raises:
        DataError: when teacher, student and data do not fit together.
        ModelError: when the student is quantized.
        TrainingError: as ``fit``.
    """
    module = to_torch(student)
    distill_module(
        module,
        teacher,
        data,
        settings,
        validation=validation,
        augment=augment,
        callbacks=callbacks,
        folder=folder,
        resume=resume,
        progress=progress,
    )
    return to_graph(module)


def distill_module(
    module: GraphModule,
    teacher: TeacherLike | None,
    data: DatasetLike,
    settings: DistillSettings | None = None,
    *,
    validation: DatasetLike | None = None,
    augment: Augment | None = None,
    callbacks: Sequence[Callback] = (),
    folder: str | Path | None = None,
    resume: bool = True,
    progress: bool | None = None,
) -> TrainResult:
    """Train a module in place, as ``distill`` does; for modules with masks, fake quantization, or other additions.

    ``teacher`` of None is self-distillation: the teacher is the graph that the module was made from, with the values
    that it had then and without what was added since.
    """
    settings = settings or DistillSettings()
    source: TeacherLike = to_torch(module.graph) if teacher is None else teacher
    if teacher is None and not _has_changed(module):
        raise TrainingError(
            f"'{module.graph.name}' is its own teacher and has nothing to learn: self-distillation is for a module "
            "that was pruned, quantized or changed since it was made from its graph; give a teacher"
        )
    if source is module:
        raise TrainingError("the student cannot be its own teacher while it changes; give a copy, or None")
    labelled = _labelled(data, settings)
    classes = _classes(module, labelled)
    taught = Teacher(source)
    taught.check(module)
    train = as_dataset(labelled, module, what="training data", classes=classes)
    held_out: DatasetLike | None = validation
    if validation is not None:
        held_out = as_dataset(validation, module, what="validation data", classes=classes)
    known: torch.Tensor | None = None
    if augment is None and classes is not None and not settings.hints and not settings.attention:
        known = taught.over(train.inputs, usable_device(settings.training.device))
        if not bool(torch.isfinite(known).all()):
            raise DataError("the teacher gives NaN or infinite scores for some of the training data")
        numbered = np.stack([train.targets, np.arange(len(train))], 1)
        train = Dataset(train.inputs, numbered, train.source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        loss = DistillationLoss(module, taught, settings, known=known)
    with _attached(module, loss):
        return fit(
            module,
            train,
            held_out,
            settings.training,
            loss=loss,
            augment=augment,
            callbacks=callbacks,
            folder=folder,
            resume=resume,
            progress=progress,
        )


def distill_chain(
    teacher: TeacherLike,
    students: Sequence[Graph],
    data: DatasetLike,
    settings: DistillSettings | None = None,
    *,
    validation: DatasetLike | None = None,
    augment: Augment | None = None,
    folder: str | Path | None = None,
    resume: bool = True,
    progress: bool | None = None,
) -> tuple[Graph, ...]:
    """Students of falling size, each taught by the one before, the first by the teacher (Mirzadeh et al. 2020).

    Returns the trained graphs in the order of ``students``; the last is the aim, the others are its assistants.
    Hints and attention name tensors, so they serve only where every pair of neighbours has them. With a ``folder``,
    each has a subfolder ``1``, ``2``, … for its checkpoint.

    Raises:
        as ``distill``; DataError without students.
    """
    if not students:
        raise DataError("a chain of distillation needs at least one student")
    trained: list[Graph] = []
    master: TeacherLike = teacher
    for number, student in enumerate(students, 1):
        result = distill(
            student,
            master,
            data,
            settings,
            validation=validation,
            augment=augment,
            folder=None if folder is None else Path(folder) / str(number),
            resume=resume,
            progress=progress,
        )
        trained.append(result)
        master = result
    return tuple(trained)


@contextmanager
def _attached(module: GraphModule, loss: DistillationLoss) -> Iterator[None]:
    """The loss as a part of the module, so that the trainer trains and saves the maps that hints need."""
    module.add_module("distillation", loss)
    try:
        yield
    finally:
        del module.distillation


def _has_changed(module: GraphModule) -> bool:
    if len(module.activation_hooks):
        return True
    for name in module.constant_names:
        value = module.constant(name).detach().cpu().numpy()
        if not np.array_equal(value, module.graph.tensors[name].value):
            return True
    return False


def _labelled(data: DatasetLike, settings: DistillSettings) -> DatasetLike:
    """Data that need no labels get the label 0."""
    if isinstance(data, Samples) and data.labels is None:
        if settings.alpha < 1:
            raise DataError(f"training data: {data.source} has no labels; give labels, or alpha = 1 to learn without")
        return replace(data, labels=np.zeros(len(data), np.int64))
    return data


def _classes(module: GraphModule, data: DatasetLike) -> int | None:
    """The number of classes where the targets are class numbers; None where they are real numbers."""
    outputs = module.graph.tensors[module.graph.outputs[0]].size
    if isinstance(data, tuple) and len(data) == 2:
        targets: Array = np.asarray(data[1])
    elif isinstance(data, Dataset):
        targets = data.targets
    else:
        return outputs
    one_each = targets.size == len(targets) and outputs > 1
    return outputs if targets.dtype.kind != "f" or one_each else None
