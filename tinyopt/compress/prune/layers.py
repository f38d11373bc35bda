"""Removal of whole layers: what has the same shape on both sides can be passed by.

Two things can be: the body of a residual block (the addition gives its other operand), and a layer with weights whose
output has the shape of its input (the input goes on, through the fused activation).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from tinyopt.bridge.functional import clamp
from tinyopt.bridge.hooks import Transform
from tinyopt.compress.prune.budget import Outcome, bisect, limit_of
from tinyopt.compress.prune.config import L1, ActivationStatistics, Random, StructuredPruning, Taylor
from tinyopt.compress.prune.scores import LAYERS, Measured, skipped, weight_readers
from tinyopt.errors import TinyoptError
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.optimise.dead import remove_dead_operators

_SINGLE = (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected)


@dataclass(frozen=True)
class Bypass:
    """``output`` of the operator ``at`` can become the clamped ``source``; ``layers`` are those with weights that then
    have no reader."""

    at: str
    output: str
    source: str
    activation: ops.Clamp
    layers: tuple[str, ...]


def bypasses(graph: Graph) -> list[Bypass]:
    """Everything that can be passed by, in the order of the graph."""
    found: list[Bypass] = []
    for operator in graph.operators:
        a = operator.attributes
        output = operator.outputs[0]
        shape = graph.tensors[output].shape
        sources: list[str] = []
        if isinstance(a, ops.Binary) and a.op is ops.BinaryKind.ADD:
            if not any(graph.tensors[name].is_constant for name in operator.inputs):
                sources = [n for n in operator.inputs if graph.tensors[n].shape == shape]
        elif isinstance(a, _SINGLE) and graph.tensors[operator.inputs[0]].shape == shape:
            sources = [operator.inputs[0]]
        best: Bypass | None = None
        for source in sources:
            assert isinstance(a, (ops.Binary, *_SINGLE))
            candidate = Bypass(operator.name, output, source, a.activation, ())
            lost = _lost_layers(graph, candidate)
            if lost and (best is None or len(lost) > len(best.layers)):
                best = replace(candidate, layers=lost)
        if best is not None:
            found.append(best)
    return found


def pass_by(graph: Graph, bypass: Bypass) -> Graph:
    """The graph in which the source takes the output's place, and nothing is left that only the body needed."""
    operators: list[Operator] = []
    for operator in graph.operators:
        if operator.name == bypass.at:
            operators.append(replace(operator, attributes=ops.Clip(bypass.activation), inputs=(bypass.source,)))
        else:
            operators.append(operator)
    if bypass.activation == ops.NONE and bypass.output not in graph.kept:
        operators = [
            replace(o, inputs=tuple(bypass.source if n == bypass.output else n for n in o.inputs))
            for o in operators
            if o.name != bypass.at
        ]
    return remove_dead_operators(graph.with_operators(operators))


def _lost_layers(graph: Graph, bypass: Bypass) -> tuple[str, ...]:
    left = {operator.name for operator in pass_by(graph, bypass).operators}
    kind = tuple(LAYERS)
    return tuple(
        o.name for o in graph.operators if isinstance(o.attributes, kind) and (o.name not in left or _gone(o, bypass))
    )


def _gone(operator: Operator, bypass: Bypass) -> bool:
    return operator.name == bypass.at and isinstance(operator.attributes, _SINGLE)


def prune_layers(measured: Measured, config: StructuredPruning) -> Outcome:
    """The network without the least important of what can be passed by.

    Raises:
        TinyoptError: when nothing can be.
    """
    graph = measured.module.graph
    weight_readers(graph, config.skip)  # checks the patterns
    found = [b for b in bypasses(graph) if not any(skipped(name, config.skip) for name in (b.at, *b.layers))]
    if not found:
        raise TinyoptError(f"'{graph.name}' has no layer or residual body with equal shapes on both sides")
    scores = bypass_scores(measured, found)
    order = sorted(range(len(found)), key=lambda place: (scores[place], -len(found[place].layers), place))
    most = len(found) - max(int(np.ceil(len(found) * (1 - config.layer_limit) - 1e-9)), 0)

    def chosen(share: float) -> list[Bypass]:
        return [found[place] for place in order[: min(int(share * len(found) + 1e-9), most)]]

    def candidate(share: float) -> Graph:
        return _without(graph, chosen(share))

    if config.target is None:
        assert config.amount is not None
        names = tuple(f"pruning: '{b.at}' is passed by; gone: {', '.join(b.layers)}" for b in chosen(config.amount))
        return Outcome(candidate(config.amount), names)
    return bisect(graph, config.target, candidate, len(found), limit_of(graph, config.target))


def _without(graph: Graph, chosen: list[Bypass]) -> Graph:
    """One after the other: some have left with an earlier one, or have another source now."""
    for bypass in chosen:
        present = next((b for b in bypasses(graph) if b.at == bypass.at), None)
        if present is not None:
            graph = pass_by(graph, present)
    return graph


def bypass_scores(measured: Measured, found: list[Bypass]) -> Array:
    """Importance per bypass [n]. Magnitude: the mean size of the weights that would leave. Activation statistics: how
    far the source is from the output, as a share of the output's energy. Taylor: the first-order change of the loss,
    squared and averaged over batches."""
    criterion, graph = measured.criterion, measured.module.graph
    if isinstance(criterion, Random):
        return np.random.default_rng(criterion.seed).random(len(found))
    if isinstance(criterion, (Taylor, ActivationStatistics)):
        return _by_difference(measured, found)
    readers = {operator.name: operator for operator in graph.operators}
    scores = []
    for bypass in found:
        values = [
            measured.value(readers[layer].inputs[position]).reshape(-1).astype(np.float64)
            for layer in bypass.layers
            for position in LAYERS[type(readers[layer].attributes)]
            if graph.tensors[readers[layer].inputs[position]].is_constant
        ]
        every = np.concatenate(values) if values else np.zeros(1)
        scores.append(np.abs(every).mean() if isinstance(criterion, L1) else np.sqrt(np.square(every).mean()))
    return np.array(scores)


def _by_difference(measured: Measured, found: list[Bypass]) -> Array:
    criterion, module = measured.criterion, measured.module
    assert measured.data is not None and isinstance(criterion, (Taylor, ActivationStatistics))
    names = list(dict.fromkeys([n for b in found for n in (b.output, b.source)]))
    total, energy, batches = np.zeros(len(found)), np.zeros(len(found)), 0
    was_training = module.training
    module.eval()
    hooks = module.activation_hooks
    seen: dict[str, torch.Tensor] = {}
    try:
        for inputs, targets in measured.batches():
            if isinstance(criterion, Taylor):
                for name in names:
                    earlier = hooks.get(name)
                    hooks[name] = _Recorder(name, seen, earlier)
                try:
                    value = measured.loss(module, inputs, targets)
                finally:
                    for name in names:
                        recorder = hooks[name]
                        assert isinstance(recorder, _Recorder)
                        del hooks[name]
                        if recorder.earlier is not None:
                            hooks[name] = recorder.earlier
                wanted = [seen[b.output] for b in found]
                gradients: tuple[torch.Tensor | None, ...] = torch.autograd.grad(value, wanted, allow_unused=True)
            else:
                with torch.no_grad():
                    seen = module.features(inputs, names)
                gradients = (None,) * len(found)
            for place, (bypass, gradient) in enumerate(zip(found, gradients)):
                y = seen[bypass.output].detach()
                difference = clamp(seen[bypass.source].detach(), bypass.activation) - y
                if isinstance(criterion, Taylor):
                    total[place] += 0.0 if gradient is None else float((gradient * difference).sum()) ** 2
                else:
                    total[place] += float(difference.square().sum())
                    energy[place] += float(y.square().sum())
            batches += 1
    finally:
        module.train(was_training)
    if isinstance(criterion, Taylor):
        return total / max(batches, 1)
    return total / np.maximum(energy, 1e-30)


class _Recorder:
    """An activation hook that keeps what passes."""

    def __init__(self, name: str, seen: dict[str, torch.Tensor], earlier: Transform | None) -> None:
        self.name, self.seen = name, seen
        self.earlier = earlier

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        if self.earlier is not None:
            value = self.earlier(value)
        self.seen[self.name] = value
        return value
