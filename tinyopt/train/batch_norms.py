"""Batch norms put back: imported models have them folded into their weights, and train badly so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import torch

from tinyopt.bridge import dequantize_graph, to_torch
from tinyopt.errors import ModelError, TinyoptError
from tinyopt.graph import Array, DType, Graph, Operator, Tensor, ops
from tinyopt.optimise.linear import is_layer
from tinyopt.optimise.rewriter import Rewriter
from tinyopt.train.dataset import DatasetLike, inputs_of

_PASSED = (ops.Reshape, ops.Softmax, ops.LogSoftmax, ops.Unary, ops.Clip, ops.Reduce, ops.AveragePool2d, ops.MaxPool2d)
"""What may stand between the classifier and the output."""
_BATCH = 64


def insert_batch_norms(
    graph: Graph,
    data: DatasetLike | Array,
    *,
    rescale: bool = True,
    epsilon: float = 1e-3,
    samples: int = 1024,
    skip: Iterable[str] = (),
) -> Graph:
    """The float graph with a batch norm behind every layer, for training; it computes the same.

    Convolutions, depthwise and transposed ones among them, and fully connected layers get one, in front of their
    activation or of the sum that they go into. Left alone are layers that give the network's output (through a softmax,
    a pooling or a reshape, too), those that have a normalisation already, whose weights are not constant, or that fit
    ``skip`` (names, with * and ?). The bias goes into the batch norm.

    Statistics are those of ``data`` (labels are not needed): at most ``samples`` of them, drawn at random and always
    the same ones. ``rescale``: the weights of every output channel take the root mean square of He et al. 2015 for
    their fan-in, whatever they had; weights that several layers share are scaled once, where all of these get a batch
    norm. A channel that is constant over the data, or whose weights are all zero, is no obstacle.

    The outputs differ by float32 roundings: by about 1e-5 of their size. ``tinyopt.optimise`` folds everything again.
    Layers of integers with run-time ranges become the float layers that they stand for.

    Raises:
        DataError: when the data do not fit the graph.
        ModelError: when the graph is quantized, or does not take stacked samples, so that it has no batches.
        TinyoptError: when no layer gets one, with the reasons, or a pattern of ``skip`` fits nothing.
    """
    if not graph.is_quantized:
        graph = dequantize_graph(graph)  # layers with run-time ranges
    module = to_torch(graph)
    if not module.stackable or graph.states:
        raise ModelError(
            f"'{graph.name}' cannot be trained with batch norms: samples of it do not run together in batches"
        )
    reasons = _left_alone(graph, tuple(skip))
    layers = [o.name for o in graph.operators if is_layer(o.attributes) and o.name not in reasons]
    if not layers:
        why = "; ".join(f"'{name}': {reason}" for name, reason in list(reasons.items())[:3])
        raise TinyoptError(f"'{graph.name}' has no layer that takes a batch norm" + (f" ({why})" if why else ""))
    plain = _without_activations(graph, layers)
    sums = {o.name: o.outputs[0] for o in plain.operators if o.name in layers}
    moments = _moments(plain, inputs_of(data, module, what="data for batch norms"), tuple(sums.values()), samples)
    return _with_norms(plain, layers, {name: moments[y] for name, y in sums.items()}, rescale, epsilon)


# ---- where --------------------------------------------------------------------------------------------------------


def _left_alone(graph: Graph, skip: tuple[str, ...]) -> dict[str, str]:
    """Layers that get no batch norm → why."""
    names = [o.name for o in graph.operators if is_layer(o.attributes)]
    for pattern in skip:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise TinyoptError(f"skip: '{pattern}' fits no layer of '{graph.name}'; see `tinyopt inspect`")
    reasons: dict[str, str] = {}
    for operator in graph.operators:
        if not is_layer(operator.attributes):
            continue
        parameters = graph.ins(operator)[1:]
        readers = graph.consumers.get(operator.outputs[0], ())
        if any(fnmatchcase(operator.name, pattern) for pattern in skip):
            reasons[operator.name] = "it is skipped"
        elif any(t.data is None or t.dtype is not DType.FLOAT32 for t in parameters):
            reasons[operator.name] = "its weights are not constant"
        elif any(isinstance(reader.attributes, (ops.BatchNorm, ops.LayerNorm)) for reader in readers):
            reasons[operator.name] = "it has a normalisation"
        elif _gives_output(graph, operator.outputs[0]):
            reasons[operator.name] = "it gives the network's output"
    return reasons


def _gives_output(graph: Graph, name: str) -> bool:
    """Whether a tensor reaches an output through nothing that has weights or joins it with another."""
    waiting, seen = [name], {name}
    while waiting:
        tensor = waiting.pop()
        if tensor in graph.kept:
            return True
        for reader in graph.consumers.get(tensor, ()):
            if isinstance(reader.attributes, _PASSED) and reader.outputs[0] not in seen:
                seen.add(reader.outputs[0])
                waiting.append(reader.outputs[0])
    return False


def _without_activations(graph: Graph, layers: Sequence[str]) -> Graph:
    """The same with the fused activations of these layers as operators of their own. The result of the activation has
    the name that the layer's had."""
    edit = Rewriter(graph)
    for name in layers:
        operator = next(o for o in graph.operators if o.name == name)
        a, y = operator.attributes, graph.tensors[operator.outputs[0]]
        if not is_layer(a) or a.activation == ops.NONE:
            continue
        middle = edit.activation(f"{y.name}/sum", y)
        layer = replace(operator, attributes=replace(a, activation=ops.NONE), outputs=(middle,))
        clip = Operator(f"{name}/activation", ops.Clip(a.activation), (middle,), (y.name,))
        edit.substitute(operator, layer, clip)
    return edit.finish()


# ---- how much -----------------------------------------------------------------------------------------------------


def _moments(
    graph: Graph, inputs: tuple[Array, ...], names: tuple[str, ...], samples: int
) -> dict[str, tuple[Array, Array]]:
    """Activation → mean and variance of every channel [C], float64, over samples and positions."""
    module = to_torch(graph).eval()
    order = np.random.default_rng(0).permutation(len(inputs[0]))[: max(samples, 1)]
    found: dict[str, list[tuple[int, Array, Array]]] = {name: [] for name in names}
    with torch.no_grad():
        for start in range(0, len(order), _BATCH):
            chosen = np.sort(order[start : start + _BATCH])
            batch = tuple(torch.from_numpy(np.ascontiguousarray(x[chosen])) for x in inputs)
            for name, y in module.features(batch, names).items():
                rows = y.reshape(-1, y.shape[-1]).to(torch.float64)
                mean = rows.mean(0)
                found[name].append((len(rows), mean.numpy(), (rows - mean).square().sum(0).numpy()))
    result = {}
    for name, parts in found.items():
        counts = np.array([[count] for count, _, _ in parts])
        means, squares = (np.array([part[place] for part in parts]) for place in (1, 2))
        mean = (counts * means).sum(0) / counts.sum()
        result[name] = (mean, (squares + counts * np.square(means - mean)).sum(0) / counts.sum())
    return result


def _with_norms(
    graph: Graph, layers: Sequence[str], moments: dict[str, tuple[Array, Array]], rescale: bool, epsilon: float
) -> Graph:
    edit = Rewriter(graph)
    scaled: dict[str, tuple[str, Array]] = {}
    for name in layers:
        operator = next(o for o in graph.operators if o.name == name)
        y, weights = graph.tensors[operator.outputs[0]], graph.tensors[operator.inputs[1]]
        channels = y.shape[-1]
        if weights.name not in scaled:
            alone = weights.name not in graph.kept and all(
                reader.name in moments and reader.kind == operator.kind for reader in graph.consumers[weights.name]
            )
            scaled[weights.name] = _rescaled(edit, operator, weights, rescale and alone)
        kernel, scale = scaled[weights.name]
        mean, variance = moments[name]
        bias = graph.tensors[operator.inputs[2]].value.astype(np.float64) if len(operator.inputs) > 2 else 0.0
        middle = edit.activation(f"{y.name}/layer", y)
        inside = variance / np.square(scale)
        parameters = {
            "gamma": scale * np.sqrt(inside + epsilon),
            "beta": mean,
            "mean": (mean - bias) / scale,
            "variance": inside,
        }
        constants = [
            edit.constant(f"{name}/{what}", np.broadcast_to(value, (channels,)).astype(np.float32))
            for what, value in parameters.items()
        ]
        norm = Operator(f"{name}/batch_norm", ops.BatchNorm(epsilon), (middle, *constants), operator.outputs)
        edit.substitute(operator, replace(operator, inputs=(operator.inputs[0], kernel), outputs=(middle,)), norm)
    return edit.finish()


def _rescaled(edit: Rewriter, operator: Operator, weights: Tensor, rescale: bool) -> tuple[str, Array]:
    """Weights divided by a factor for every output channel, and the factors [C]: those that give He et al.'s size."""
    value = weights.value.astype(np.float64)
    depthwise = isinstance(operator.attributes, ops.DepthwiseConv2d)
    rows = np.moveaxis(value, -1 if depthwise else 0, 0).reshape(value.shape[-1 if depthwise else 0], -1)
    if not rescale:
        return weights.name, np.ones(len(rows))
    scale = np.sqrt(np.square(rows).mean(1)) / np.sqrt(2 / rows.shape[1])
    scale = np.where((scale > 1e-12) & np.isfinite(scale), scale, 1.0)
    spread = scale if depthwise else scale.reshape(-1, *[1] * (value.ndim - 1))
    edit.set_tensor(Tensor.constant(weights.name, (value / spread).astype(np.float32)))
    return weights.name, scale
