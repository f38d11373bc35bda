"""How good a network is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tinyopt.bridge import GraphModule, to_torch
from tinyopt.errors import DataError
from tinyopt.graph import Array, Graph
from tinyopt.train.dataset import Dataset, DatasetLike, as_dataset, checked_targets
from tinyopt.train.loss import CrossEntropy, Loss, scores


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Means over all samples. ``confusion``: [true class, predicted class] counts; accuracy is None and the confusion
    empty where the targets are no class numbers."""

    samples: int
    loss: float
    accuracy: float | None
    confusion: Array

    @property
    def accuracy_per_class(self) -> Array:
        """Share of each true class that was recognised [classes]; NaN for classes without samples."""
        with np.errstate(invalid="ignore"):
            result: Array = np.diag(self.confusion) / self.confusion.sum(1)
        return result


def evaluate(
    module: nn.Module | Graph,
    data: DatasetLike,
    *,
    loss: Loss | None = None,
    batch_size: int = 256,
) -> Evaluation:
    """Loss and accuracy of a module, or of a float graph, over data.

    ``loss``: cross-entropy without smoothing unless given. The module is in evaluation mode meanwhile, stays on its
    device, and gets its own mode back.

    Raises:
        DataError: when the data do not fit the network.
    """
    if isinstance(module, Graph):
        module = to_torch(module)
    loss = loss or CrossEntropy()
    classes = class_count(module) if isinstance(loss, CrossEntropy) else None
    dataset = as_dataset(data, module, what="evaluation data", classes=classes)
    if classes is None and isinstance(loss, CrossEntropy):
        dataset = labelled(dataset, module, "evaluation data")
    return measure(module, dataset, loss, batch_size)


def class_count(module: nn.Module) -> int | None:
    """How many scores a graph's first output holds; None for other modules (unknown)."""
    if not isinstance(module, GraphModule):
        return None
    return module.graph.tensors[module.graph.outputs[0]].size


def labelled(dataset: Dataset, module: nn.Module, what: str) -> Dataset:
    """The data of a module that is no graph, checked against its scores for the first sample.

    Raises:
        DataError: when the module does not take the inputs, or a label is no class number.
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    was_training = module.training
    try:
        with torch.no_grad():
            values = scores(module.eval(), tuple(torch.from_numpy(x[:1]).to(device) for x in dataset.inputs))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise DataError(f"{what}: the network does not take samples of these shapes: {error}") from None
    finally:
        module.train(was_training)
    where = f"{what} ({dataset.source})"
    return Dataset(dataset.inputs, checked_targets(dataset.targets, where, values.numel()), dataset.source)


def measure(module: nn.Module, dataset: Dataset, loss: Loss, batch_size: int) -> Evaluation:
    """``evaluate`` on data that were checked."""
    classify = dataset.targets.ndim == 1 and dataset.targets.dtype.kind == "i"
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    was_training = module.training
    module.eval()
    total, predicted = 0.0, list[Array]()
    try:
        with torch.no_grad():
            for start in range(0, len(dataset), batch_size):
                part = slice(start, start + batch_size)
                inputs = tuple(torch.from_numpy(x[part]).to(device) for x in dataset.inputs)
                targets = torch.from_numpy(dataset.targets[part]).to(device)
                values = scores(module, inputs).reshape(len(targets), -1) if classify else None
                if values is not None and isinstance(loss, CrossEntropy):
                    value = loss.of_scores(values, targets)
                else:
                    value = loss(module, inputs, targets)
                total += float(value) * len(targets)
                if values is not None:
                    predicted.append(values.argmax(1).cpu().numpy())
    finally:
        module.train(was_training)
    if not classify:
        return Evaluation(len(dataset), total / len(dataset), None, np.zeros((0, 0), np.int64))
    labels = dataset.targets
    guesses = np.concatenate(predicted)
    size = class_count(module) or int(max(labels.max(), guesses.max())) + 1
    confusion = np.zeros((size, size), np.int64)
    np.add.at(confusion, (labels, guesses), 1)
    return Evaluation(len(dataset), total / len(dataset), float((labels == guesses).mean()), confusion)
