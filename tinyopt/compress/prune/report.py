"""What pruning did: zeros, parameters and multiply-accumulates per layer, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyopt.compress.prune.scores import LAYERS
from tinyopt.graph import Graph, Operator, graph_macs, operator_macs


@dataclass(frozen=True)
class LayerPruning:
    """One layer with weights. ``parameters``: weights and bias that are stored; ``nonzero``: of its weights;
    ``shape_before``, ``shape``: of the weights (empty: the layer is gone)."""

    name: str
    kind: str
    shape_before: tuple[int, ...]
    shape: tuple[int, ...]
    parameters_before: int
    parameters: int
    nonzero: int
    weights: int
    macs_before: int
    macs: int

    @property
    def sparsity(self) -> float:
        """Share of the weights that are zero; 0 for a layer that is gone."""
        return 1 - self.nonzero / self.weights if self.weights else 0.0

    @property
    def nonzero_macs(self) -> int:
        """Multiply-accumulates with weights that are not zero: what an ideal sparse kernel would do."""
        return round(self.macs * (1 - self.sparsity))


@dataclass(frozen=True)
class PruningReport:
    """``layers``: those of the graph before. Totals count all constants and operators of the graphs."""

    layers: tuple[LayerPruning, ...]
    parameters_before: int
    parameters: int
    macs_before: int
    macs: int
    notes: tuple[str, ...] = ()

    @property
    def sparsity(self) -> float:
        """Share of all weights of layers that are zero."""
        weights = sum(layer.weights for layer in self.layers)
        return 1 - sum(layer.nonzero for layer in self.layers) / weights if weights else 0.0

    def to_json(self) -> dict[str, object]:
        """Numbers and text only."""
        return {
            "parameters_before": self.parameters_before,
            "parameters": self.parameters,
            "macs_before": self.macs_before,
            "macs": self.macs,
            "sparsity": round(self.sparsity, 6),
            "layers": [
                {
                    "name": layer.name,
                    "operator": layer.kind,
                    "weights_before": list(layer.shape_before),
                    "weights": list(layer.shape),
                    "sparsity": round(layer.sparsity, 6),
                    "parameters_before": layer.parameters_before,
                    "parameters": layer.parameters,
                    "macs_before": layer.macs_before,
                    "macs": layer.macs,
                }
                for layer in self.layers
            ],
            "notes": list(self.notes),
        }


def pruning_report(before: Graph, after: Graph) -> PruningReport:
    """Compare a graph with what pruning made of it, layer by layer (by operator name)."""
    left = {operator.name: operator for operator in after.operators}
    old_notes = before.metadata.get("notes", "").splitlines()
    layers = []
    for operator in before.operators:
        if not isinstance(operator.attributes, tuple(LAYERS)):
            continue
        now = left.get(operator.name)
        if now is not None and type(now.attributes) is not type(operator.attributes):
            now = None  # passed by: a clamp in its place
        layers.append(_layer(before, operator, after, now))
    return PruningReport(
        tuple(layers),
        _parameters(before, before.operators),
        _parameters(after, after.operators),
        graph_macs(before),
        graph_macs(after),
        tuple(note for note in after.metadata.get("notes", "").splitlines() if note not in old_notes),
    )


def _layer(before: Graph, old: Operator, after: Graph, now: Operator | None) -> LayerPruning:
    positions = LAYERS[type(old.attributes)]
    weights = [] if now is None else [after.tensors[now.inputs[p]] for p in positions]
    values = [t.value for t in weights if t.is_constant]
    return LayerPruning(
        old.name,
        old.kind,
        before.tensors[old.inputs[positions[0]]].shape,
        weights[0].shape if weights else (),
        _parameters(before, [old]),
        0 if now is None else _parameters(after, [now]),
        int(sum(np.count_nonzero(v) for v in values)),
        sum(v.size for v in values),
        operator_macs(before, old),
        0 if now is None else operator_macs(after, now),
    )


def _parameters(graph: Graph, operators: Sequence[Operator]) -> int:
    names = {name for operator in operators for name in operator.inputs if graph.tensors[name].is_constant}
    return sum(graph.tensors[name].size for name in names)
