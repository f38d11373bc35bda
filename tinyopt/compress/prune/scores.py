"""How important weights and activations are: one number per element, from the weights alone or from data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch.nn.utils import parametrize

from tinyopt.bridge import GraphModule, to_torch
from tinyopt.compress.prune.config import L1, L2, ActivationStatistics, Criterion, Random, Taylor
from tinyopt.errors import DataError, TinyoptError
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.train import CrossEntropy, Dataset, Loss

LAYERS: dict[type[ops.Attributes], tuple[int, ...]] = {
    **dict.fromkeys((ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected), (1,)),
    ops.MatMul: (1,),
    **dict.fromkeys((ops.Lstm, ops.Gru), (1, 2)),
}
"""Layers whose weights are pruned, with the positions of their weights."""


SAMPLES = 512
"""How many samples are looked at where no criterion says it."""


def left_out(graph: Graph, skip: Iterable[str] = (), layers: Iterable[str] = ()) -> tuple[str, ...]:
    """Names of the layers with weights that a pruning leaves alone: those of ``skip``, and where there are any
    ``layers``, all others. Both name layers or kinds of layers (``DepthwiseConv2d``), with * and ? as wildcards.

    Raises:
        TinyoptError: when one fits nothing (a spelling mistake would prune what it should save).
    """
    skip, layers = tuple(skip), tuple(layers)
    _check(graph, "skip", skip)
    _check(graph, "layers", layers)
    return tuple(
        operator.name
        for operator in graph.operators
        if type(operator.attributes) in LAYERS
        and (_fits(operator, skip) or (bool(layers) and not _fits(operator, layers)))
    )


def without_kinds(graph: Graph, skip: Iterable[str]) -> tuple[str, ...]:
    """Patterns for names alone: kinds of layers are replaced by the names of the layers with weights of that kind.

    Raises:
        TinyoptError: as ``left_out``.
    """
    patterns = tuple(skip)
    _check(graph, "skip", patterns)
    layers = [operator for operator in graph.operators if type(operator.attributes) in LAYERS]
    of_kinds = tuple(operator.name for operator in layers if skipped(operator.kind, patterns))
    return *(p for p in patterns if any(skipped(o.name, (p,)) for o in graph.operators)), *of_kinds


def _check(graph: Graph, field: str, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        if not any(_fits(operator, (pattern,)) for operator in graph.operators):
            raise TinyoptError(f"{field}: '{pattern}' fits no layer of '{graph.name}'; see `tinyopt inspect`")


def _fits(operator: Operator, patterns: Iterable[str]) -> bool:
    """Whether an operator is named, or its kind is."""
    patterns = tuple(patterns)
    return skipped(operator.name, patterns) or skipped(operator.kind, patterns)


def skipped(name: str, patterns: Iterable[str]) -> bool:
    """Whether a layer is named, as it is called or by a pattern with * and ?."""
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def weight_readers(
    graph: Graph, skip: Iterable[str] = (), layers: Iterable[str] = ()
) -> dict[str, tuple[Operator, int]]:
    """Weights of layers → the first layer that reads them and the position. Without those that a layer reads that is
    left out; ``skip``, ``layers`` and errors: as in ``left_out``."""
    out = set(left_out(graph, skip, layers))
    found: dict[str, tuple[Operator, int]] = {}
    kept: set[str] = set()
    for operator in graph.operators:
        for position in LAYERS.get(type(operator.attributes), ()):
            name = operator.inputs[position]
            if not graph.tensors[name].is_constant:
                continue
            if operator.name in out:
                kept.add(name)
            found.setdefault(name, (operator, position))
    return {name: place for name, place in found.items() if name not in kept}


def needs_data(criterion: Criterion) -> bool:
    return isinstance(criterion, (ActivationStatistics, Taylor))


class Measured:
    """What a criterion knows about a network: the values of its constants, and what data said about it."""

    def __init__(
        self, module: GraphModule, criterion: Criterion, data: Dataset | None = None, loss: Loss | None = None
    ) -> None:
        self.module, self.criterion, self.data = module, criterion, data
        self.loss: Loss = loss or CrossEntropy()
        if needs_data(criterion) and data is None:
            raise DataError(f"the criterion {type(criterion).__name__} needs data; give some, or use L1 or L2")

    def value(self, name: str) -> Array:
        """A constant as the network sees it now."""
        result: Array = self.module.constant(name).detach().cpu().numpy()
        return result

    # ---- gradients ----

    def gradients(self) -> Iterable[dict[str, Array]]:
        """Per batch: trained constant → gradient of the loss, with the network in evaluation mode."""
        assert isinstance(self.criterion, Taylor)
        module, names = self.module, list(self.module.parameter_names)
        was_training = module.training
        module.eval()
        try:
            for inputs, targets in self.batches():
                with parametrize.cached():  # so that the loss and we see the same tensors
                    leaves = {name: module.constant(name) for name in names}
                    value = self.loss(module, inputs, targets)
                    found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
                yield {
                    name: np.zeros(tuple(leaf.shape), np.float32) if g is None else g.detach().cpu().numpy()
                    for (name, leaf), g in zip(leaves.items(), found)
                }
        finally:
            module.train(was_training)

    def batches(self) -> Iterator[tuple[tuple[torch.Tensor, ...], torch.Tensor]]:
        """Inputs and targets of the samples that the criterion looks at: drawn at random, since files are often sorted
        by class, and the same ones every time."""
        assert self.data is not None
        size = self.criterion.batch_size if isinstance(self.criterion, Taylor) else 64
        most = self.criterion.samples if isinstance(self.criterion, (Taylor, ActivationStatistics)) else SAMPLES
        device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        order = np.random.default_rng(0).permutation(len(self.data))[:most]
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            inputs = tuple(torch.from_numpy(np.ascontiguousarray(x[chosen])).to(device) for x in self.data.inputs)
            yield inputs, torch.from_numpy(self.data.targets[chosen]).to(device)

    def loss_of(self, graph: Graph) -> float:
        """The mean loss of another network over the samples that the criterion looks at."""
        module, total, count = to_torch(graph).eval(), 0.0, 0
        with torch.no_grad():
            for inputs, targets in self.batches():
                total += float(self.loss(module, tuple(x.cpu() for x in inputs), targets.cpu())) * len(targets)
                count += len(targets)
        return total / count

    # ---- activations ----

    def moments(self, names: Iterable[str]) -> Mapping[str, tuple[Array, Array, Array, Array]]:
        """Activation → means over the samples of |x|, x², x ≠ 0 and x, each of the activation's shape."""
        wanted = list(dict.fromkeys(names))
        sums: dict[str, list[Array]] = {}
        count = 0
        was_training = self.module.training
        self.module.eval()
        try:
            with torch.no_grad():
                for inputs, targets in self.batches():
                    count += len(targets)
                    for name, x in self.module.features(inputs, wanted).items():
                        shape = (len(targets), *self.module.graph.tensors[name].shape)
                        x = x.cpu().reshape(shape).to(torch.float64)
                        parts = [x.abs().sum(0), x.square().sum(0), (x != 0).sum(0), x.sum(0)]
                        total = sums.setdefault(name, [np.zeros(shape[1:]) for _ in parts])
                        for place, part in enumerate(parts):
                            total[place] = total[place] + part.numpy()
        finally:
            self.module.train(was_training)
        return {name: (a / count, b / count, c / count, d / count) for name, (a, b, c, d) in sums.items()}

    def covariances(self, axes: Mapping[str, int]) -> Mapping[str, tuple[Array, Array]]:
        """Activation → its channels' means [C] and covariances [C, C], over samples and all positions; ``axes``: the
        channel axis of each."""
        sums: dict[str, tuple[Array, Array, int]] = {}
        was_training = self.module.training
        self.module.eval()
        try:
            with torch.no_grad():
                for inputs, targets in self.batches():
                    for name, x in self.module.features(inputs, axes).items():
                        x = x.cpu().reshape(len(targets), *self.module.graph.tensors[name].shape)
                        rows = x.movedim(axes[name] + 1, -1).reshape(-1, x.shape[axes[name] + 1]).to(torch.float64)
                        first, second, count = sums.get(name, (np.zeros(1), np.zeros(1), 0))
                        product = (rows.T @ rows).numpy()
                        sums[name] = (first + rows.sum(0).numpy(), second + product, count + len(rows))
        finally:
            self.module.train(was_training)
        means = {name: first / count for name, (first, _, count) in sums.items()}
        return {name: (means[name], s / n - np.outer(means[name], means[name])) for name, (_, s, n) in sums.items()}


# ---- single weights -------------------------------------------------------------------------------------------


def weight_scores(measured: Measured, names: Iterable[str]) -> dict[str, Array]:
    """Weights → the importance of every element, float64, of their shape; comparable between layers."""
    criterion, wanted = measured.criterion, list(names)
    if isinstance(criterion, L1):
        return {name: np.abs(measured.value(name)).astype(np.float64) for name in wanted}
    if isinstance(criterion, L2):
        return {name: np.square(measured.value(name).astype(np.float64)) for name in wanted}
    if isinstance(criterion, Random):
        random = np.random.default_rng(criterion.seed)
        return {name: random.random(measured.value(name).shape) for name in wanted}
    if isinstance(criterion, Taylor):
        return _taylor(measured, wanted)
    return _by_inputs(measured, wanted)


def _taylor(measured: Measured, names: list[str]) -> dict[str, Array]:
    sums = {name: np.zeros(measured.value(name).shape) for name in names}
    for gradients in measured.gradients():
        for name in names:
            if name in gradients:
                sums[name] += np.square(gradients[name].astype(np.float64) * measured.value(name))
    return sums


def _by_inputs(measured: Measured, names: list[str]) -> dict[str, Array]:
    """|w| times the size of the activation that it multiplies."""
    graph = measured.module.graph
    places = weight_readers(graph)
    read = {name: read_tensor(places[name][0], places[name][1]) for name in names}
    moments = measured.moments(tensor for tensor, _ in read.values() if not graph.tensors[tensor].is_constant)
    mean = isinstance(measured.criterion, ActivationStatistics) and measured.criterion.kind == "mean"
    result = {}
    for name in names:
        tensor, axis = read[name]
        weights = np.abs(measured.value(name)).astype(np.float64)
        if tensor in moments:
            field = moments[tensor][1 if mean else 2]
            size = np.moveaxis(field, axis, -1).reshape(-1, field.shape[axis]).mean(0)
            weights = weights * _spread(graph, places[name], np.sqrt(size) if mean else size)
        result[name] = weights
    return result


def read_tensor(operator: Operator, position: int) -> tuple[str, int]:
    """The activation that the weights at ``position`` multiply, and its channel axis. What recurrent weights multiply
    is the layer's own output."""
    a = operator.attributes
    if isinstance(a, (ops.Lstm, ops.Gru)) and position == 2:
        return operator.outputs[0], -1
    return operator.inputs[0], -2 if isinstance(a, ops.MatMul) and a.transpose_a else -1


def _spread(graph: Graph, place: tuple[Operator, int], size: Array) -> Array:
    """Per input channel values [C], shaped to be multiplied with the weights."""
    operator, position = place
    a = operator.attributes
    shape = graph.tensors[operator.inputs[position]].shape
    if isinstance(a, ops.DepthwiseConv2d):
        return np.repeat(size, a.multiplier)
    if isinstance(a, ops.Conv2d) and a.groups > 1:
        rows = np.repeat(size.reshape(a.groups, -1), shape[0] // a.groups, 0)
        return rows[:, None, None, :]
    if isinstance(a, ops.MatMul) and not a.transpose_b:
        return size[:, None]
    return size
