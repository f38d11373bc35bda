"""The loss of a student, for the trainer and for loops of one's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyopt.bridge import GraphModule
from tinyopt.compress.distill.settings import DistillSettings
from tinyopt.compress.distill.teacher import Teacher, TeacherLike, scores_and_features
from tinyopt.errors import DataError, GraphError


class DistillationLoss(nn.Module):
    """``loss(module, inputs, targets)``, a scalar: the mean over the batch of what ``DistillSettings`` says.

    ``targets``: class numbers [batch], or real numbers for networks that are no classifiers. In a loop of one's own,
    train ``loss.parameters()`` too: the maps from the student's to the teacher's channels that hints need. In
    evaluation mode the loss is the plain one, against the targets alone.

    ``known``: the teacher's scores of all training samples [samples, classes], for samples that are never changed;
    then targets are [batch, 2], the second column being the number of the sample (what ``distill`` does).

    Raises:
        DataError: when the teacher's inputs or number of scores differ, or a pair of activations does not match.
        GraphError: when a pair names no tensor.
    """

    def __init__(
        self,
        student: GraphModule,
        teacher: TeacherLike,
        settings: DistillSettings | None = None,
        *,
        known: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings or DistillSettings()
        # Not a submodule: the teacher is neither trained nor part of the state.
        self._teacher = (Teacher(teacher),)
        self._known = known
        self.teacher.check(student)
        self.adapters = nn.ModuleList()
        for ours, theirs in self.settings.hints:
            first, second = self._shapes(student, ours, theirs)
            same = first[-1] == second[-1]
            self.adapters.append(nn.Identity() if same else nn.Linear(first[-1], second[-1]))
        for ours, theirs in self.settings.attention:
            first, _ = self._shapes(student, ours, theirs)
            if len(first) < 3:
                raise DataError(f"'{ours}' {list(first)} has no positions to attend to; give images or sequences")
        device = next((p.device for p in student.parameters()), None)
        self.adapters.to(device)

    @property
    def teacher(self) -> Teacher:
        return self._teacher[0]

    def _shapes(self, student: GraphModule, ours: str, theirs: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        graph = self.teacher.graph
        if graph is None:
            raise DataError(
                f"the activations of the teacher cannot be seen ('{theirs}' was asked for): give its graph or its file"
            )
        for part in (student.graph, graph):
            name = ours if part is student.graph else theirs
            if part.tensor(name).is_constant:
                raise GraphError(f"'{name}' of graph '{part.name}' is a constant, not an activation")
        first, second = student.graph.tensor(ours).shape, graph.tensor(theirs).shape
        if len(first) != len(second) or not 2 <= len(first) <= 4:
            raise DataError(f"'{ours}' {list(first)} of the student and '{theirs}' {list(second)} cannot be compared")
        return first, second

    def forward(self, module: nn.Module, inputs: tuple[Tensor, ...], targets: Tensor) -> Tensor:
        assert isinstance(module, GraphModule)
        settings = self.settings
        pairs = (*settings.hints, *settings.attention)
        scores, ours = scores_and_features(module, inputs, [pair[0] for pair in pairs] if self.training else ())
        labels = targets
        if self._known is not None and targets.ndim == 2:
            labels = targets[:, 0]
        if not self.training:
            return _task_loss(scores, labels)
        if labels is not targets and self._known is not None:
            if self._known.device != scores.device:
                self._known = self._known.to(scores.device)
            taught, theirs = self._known[targets[:, 1]], dict[str, Tensor]()
        else:
            taught, theirs = self.teacher(inputs, [pair[1] for pair in pairs])
        value = scores.new_zeros(())
        if settings.alpha > 0:
            if labels.is_floating_point():
                value = value + settings.alpha * F.mse_loss(scores, taught)
            else:
                value = value + settings.alpha * soft_loss(scores, taught, settings.temperature)
        if settings.alpha < 1:
            value = value + (1 - settings.alpha) * _task_loss(scores, labels)
        for adapter, (student_name, teacher_name) in zip(self.adapters, settings.hints):
            value = value + settings.hint_weight * hint_loss(adapter(ours[student_name]), theirs[teacher_name])
        for student_name, teacher_name in settings.attention:
            value = value + settings.attention_weight * attention_loss(ours[student_name], theirs[teacher_name])
        return value


def soft_loss(scores: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """``T² · KL(softmax(taught / T) ‖ softmax(scores / T))``, the mean over the batch; both [batch, classes]."""
    ours = F.log_softmax(scores / temperature, 1)
    theirs = F.log_softmax(taught / temperature, 1)
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


def hint_loss(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean squared difference over the teacher's mean square; both [batch, …, channels]."""
    ours, theirs = _same_size(ours, theirs)
    return F.mse_loss(ours, theirs) / theirs.pow(2).mean().clamp_min(1e-12)


def attention_loss(ours: Tensor, theirs: Tensor) -> Tensor:
    """Squared distance, 0 to 2, of the two normalised maps of mean square over channels; the mean over the batch."""
    ours, theirs = _same_size(ours.pow(2).mean(-1, keepdim=True), theirs.pow(2).mean(-1, keepdim=True))
    difference = F.normalize(ours.flatten(1)) - F.normalize(theirs.flatten(1))
    return difference.pow(2).sum(1).mean()


def _same_size(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Activations [batch, positions …, channels], the larger one averaged down to the positions of the smaller."""
    if ours.shape[1:-1] == theirs.shape[1:-1]:
        return ours, theirs
    sizes = [min(a, b) for a, b in zip(ours.shape[1:-1], theirs.shape[1:-1])]

    def pooled(value: Tensor) -> Tensor:
        moved = value.movedim(-1, 1)
        result = (
            F.adaptive_avg_pool1d(moved, sizes[0])
            if len(sizes) == 1
            else F.adaptive_avg_pool2d(moved, (sizes[0], sizes[1]))
        )
        return result.movedim(1, -1)

    return pooled(ours), pooled(theirs)


def _task_loss(scores: Tensor, labels: Tensor) -> Tensor:
    if labels.is_floating_point():
        return F.mse_loss(scores, labels.reshape(scores.shape).to(scores.dtype))
    return F.cross_entropy(scores, labels.to(torch.int64))
