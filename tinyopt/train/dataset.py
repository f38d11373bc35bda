"""Training data: checked once, before training starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from torch import nn

from tinyopt.bridge import GraphModule
from tinyopt.data import Samples
from tinyopt.errors import DataError
from tinyopt.graph import Array

DatasetLike: TypeAlias = "Samples | tuple[Any, Any] | Dataset"


@dataclass(frozen=True, eq=False)
class Dataset:
    """``inputs``: one array [samples, …] per input of the network, in its order. ``targets``: class numbers int64
    [samples], or float32 [samples, …] for regression. ``source``: where they came from, for messages."""

    inputs: tuple[Array, ...]
    targets: Array
    source: str = "the data"

    def __len__(self) -> int:
        return len(self.targets)

    def split(self, fraction: float, *, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Two parts, the first with 1 - ``fraction`` of the samples, drawn at random; class numbers keep their shares.

        Raises:
            DataError: when a part would be empty.
        """
        random = np.random.default_rng(seed)
        if self.targets.ndim == 1 and self.targets.dtype.kind == "i":
            groups = [np.flatnonzero(self.targets == label) for label in np.unique(self.targets)]
        else:
            groups = [np.arange(len(self))]
        second: list[int] = []
        for group in groups:
            second.extend(random.permutation(group)[: round(fraction * len(group))].tolist())
        chosen = np.zeros(len(self), bool)
        chosen[second] = True
        if chosen.all() or not chosen.any():
            raise DataError(f"a fraction of {fraction} leaves nothing of {len(self)} samples in one of the parts")
        return self.take(np.flatnonzero(~chosen)), self.take(np.flatnonzero(chosen))

    def take(self, indices: Array) -> Dataset:
        """The samples at ``indices``, in that order."""
        return Dataset(tuple(x[indices] for x in self.inputs), self.targets[indices], self.source)


def as_dataset(
    data: DatasetLike, module: nn.Module, *, what: str, classes: int | None = None, needs_labels: bool = True
) -> Dataset:
    """Checked data for a module.

    ``data``: ``Samples``, or a pair (inputs, targets) of arrays; inputs of a network with several are a sequence or a
    mapping by name. Inputs must fit the graph where the module has one. ``classes``: how many scores the network
    gives, when targets must be class numbers below that. ``what``: "training data" and the like, for messages.

    Raises:
        DataError: for wrong shapes, counts, values that are no numbers, labels that are no class numbers or too large.
    """
    if isinstance(data, Dataset):
        inputs, targets, source = data.inputs, data.targets, data.source
    elif isinstance(data, Samples):
        if data.labels is None:
            raise DataError(f"{what}: {data.source} has no labels; training needs them")
        names = module.graph.inputs if isinstance(module, GraphModule) else tuple(data.inputs)
        missing = [name for name in names if name not in data.inputs]
        if missing:
            raise DataError(f"{what}: {data.source} has no data for the input '{missing[0]}'")
        inputs, targets, source = tuple(data.inputs[name] for name in names), data.labels, data.source
    elif isinstance(data, tuple) and len(data) == 2:
        x, targets = data
        source = "the arrays"
        if isinstance(x, dict) and isinstance(module, GraphModule):
            inputs = tuple(np.asarray(x[name]) for name in module.graph.inputs if name in x)
        elif isinstance(x, (tuple, list)):
            inputs = tuple(np.asarray(part) for part in x)
        else:
            inputs = (np.asarray(x),)
    else:
        raise DataError(f"{what}: give Samples with labels or a pair (inputs, targets), not {type(data).__name__}")
    inputs = _checked_inputs(inputs, module, f"{what} ({source})")
    targets = checked_targets(np.asarray(targets), f"{what} ({source})", classes)
    counts = {len(array) for array in (*inputs, targets)}
    if len(counts) != 1:
        raise DataError(f"{what} ({source}): {len(inputs[0])} samples but {len(targets)} labels")
    if len(targets) == 0:
        raise DataError(f"{what} ({source}) holds no samples")
    return Dataset(inputs, targets, source)


def inputs_of(data: DatasetLike | Array, module: nn.Module, *, what: str) -> tuple[Array, ...]:
    """Checked inputs alone, of data with or without labels: one array [samples, …] per input of the network.

    Raises:
        DataError: as ``as_dataset`` for inputs.
    """
    if isinstance(data, Samples) and data.labels is None:
        data = replace(data, labels=np.zeros(len(data), np.int64))
    elif isinstance(data, np.ndarray):
        data = (data, np.zeros(len(data), np.int64))
    return as_dataset(data, module, what=what).inputs


def _checked_inputs(inputs: Sequence[Array], module: nn.Module, where: str) -> tuple[Array, ...]:
    if isinstance(module, GraphModule):
        graph = module.graph
        if len(inputs) != len(graph.inputs):
            raise DataError(f"{where}: '{graph.name}' has {len(graph.inputs)} inputs, the data have {len(inputs)}")
        result = []
        for name, array in zip(graph.inputs, inputs):
            shape = graph.tensors[name].shape
            if shape[:1] != (1,):
                raise DataError(f"input '{name}' {list(shape)} has no leading axis of one to stack samples along")
            array = np.asarray(array)
            if array.shape[1:] == shape[1:] and array.dtype == np.float32 == graph.tensors[name].dtype.numpy:
                _check_finite(array, where)
                result.append(array)  # as it is: the other way copies
                continue
            samples = Samples.from_arrays({name: array}, _only_input(module, name), source=where)
            result.append(samples.inputs[name].reshape(-1, *shape[1:]))
        return tuple(result)
    for array in inputs:
        if array.ndim == 0:
            raise DataError(f"{where}: inputs must be arrays [samples, …]")
        _check_finite(array, where)
    return tuple(a.astype(np.float32, copy=False) if a.dtype == np.float64 else a for a in inputs)


def _check_finite(array: Array, where: str) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        index = int(np.argmax(~np.isfinite(array.reshape(len(array), -1)).all(1)))
        raise DataError(f"{where}: sample {index} holds NaN or infinite values; clean the data first")


def _only_input(module: GraphModule, name: str) -> Any:
    """The graph as the data checks see it: one input at a time."""
    from tinyopt.graph import GraphBuilder

    tensor = module.graph.tensors[name]
    builder = GraphBuilder(module.graph.name)
    builder.output(builder.input(name, tensor.shape, tensor.dtype))
    return builder.build()


def checked_targets(targets: Array, where: str, classes: int | None) -> Array:
    """Class numbers int64 [samples] below ``classes``; or any numbers where that is None.

    Raises:
        DataError: naming the first label that is none.
    """
    if classes is None:
        if targets.dtype.kind not in "iufb":
            raise DataError(f"{where}: targets of type {targets.dtype} cannot be used; save numbers")
        if targets.dtype.kind == "f" and not np.isfinite(targets).all():
            raise DataError(f"{where}: the targets hold NaN or infinite values; clean the data first")
        return targets.astype(np.float32 if targets.dtype.kind == "f" else np.int64, copy=False)
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.dtype.kind == "f" and targets.ndim == 1 and np.isfinite(targets).all():
        whole = targets.astype(np.int64)
        targets = whole if (whole == targets).all() else targets
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        raise DataError(
            f"{where}: labels must be whole class numbers [samples], got {targets.dtype}{list(targets.shape)}"
        )
    labels = targets.astype(np.int64)
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        index = int(np.argmax((labels < 0) | (labels >= classes)))
        raise DataError(
            f"{where}: sample {index} has the label {labels[index]}, but the network has {classes} classes "
            f"(0 to {classes - 1})"
        )
    return labels
