"""Device outputs against the reference: mismatches, and accuracy where there are labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyopt.graph import Array, DType, Graph, Tensor

FLOAT_TOLERANCE = 1e-4
"""Float32 outputs match when |device - reference| <= tolerance * (1 + largest |reference| of the output)."""


@dataclass(frozen=True)
class ClassAccuracy:
    """``correct`` of ``total`` samples whose label is ``label``."""

    label: int
    total: int
    correct: int


@dataclass(frozen=True)
class Comparison:
    """What a run's outputs are worth.

    ``mismatches``: samples with at least one output element that differs from the reference (integer outputs: at all;
    float outputs computed in float: beyond ``FLOAT_TOLERANCE``). ``top1``: fraction of samples whose prediction is the
    label, None without labels. ``exact``: whether the comparison was bit for bit.
    """

    samples: int
    mismatches: int
    first_mismatch: str | None
    exact: bool
    top1: float | None
    per_class: tuple[ClassAccuracy, ...] = ()


def predictions(outputs: Sequence[Array], tensor: Tensor) -> Array:
    """Predicted class per sample from the first output: the largest element's index, or, for a single-element output,
    1 where the real value is above one half. int64 [samples]."""
    flat = np.stack([np.asarray(o).reshape(-1) for o in outputs])
    if flat.shape[1] == 1:
        real = tensor.quantization.dequantize(flat) if tensor.quantization is not None else flat
        result: Array = (real[:, 0] > 0.5).astype(np.int64)
        return result
    result = flat.argmax(axis=1)
    return result


def top1(outputs: Sequence[Array], tensor: Tensor, labels: Array) -> float:
    """Fraction of predictions that equal the labels."""
    return float((predictions(outputs, tensor) == np.asarray(labels)).mean())


def computes_in_float(graph: Graph) -> bool:
    """Whether any float output depends on float arithmetic (then equality is up to rounding, else bit for bit)."""
    from tinyopt.graph import ops

    exact = (ops.Dequantize, ops.Quantize, ops.Reshape, ops.Transpose, ops.Slice, ops.Concat, ops.Split, ops.Pad)
    return any(
        not isinstance(o.attributes, exact) and any(t.dtype is DType.FLOAT32 for t in (*graph.ins(o), *graph.outs(o)))
        for o in graph.operators
    )


def compare(
    graph: Graph,
    device: Sequence[Sequence[Array]],
    reference: Sequence[Sequence[Array]],
    labels: Array | None = None,
) -> Comparison:
    """Compare outputs sample by sample; both are lists (samples) of lists (graph outputs) of arrays."""
    exact = not computes_in_float(graph)
    mismatches, first = 0, None
    for index, (got, wanted) in enumerate(zip(device, reference)):
        for name, a, b in zip(graph.outputs, got, wanted):
            different = _differs(np.asarray(a).reshape(-1), np.asarray(b).reshape(-1), exact)
            if different.any():
                mismatches += 1
                if first is None:
                    at = int(np.flatnonzero(different)[0])
                    first = (
                        f"sample {index}, output '{name}', element {at}: "
                        f"{a.reshape(-1)[at]} on the device, {b.reshape(-1)[at]} in the reference"
                    )
                break
    score: float | None = None
    classes: tuple[ClassAccuracy, ...] = ()
    if labels is not None and len(device):
        predicted = predictions([sample[0] for sample in device], graph.tensors[graph.outputs[0]])
        hits = predicted == np.asarray(labels)[: len(device)]
        score = float(hits.mean())
        classes = tuple(
            ClassAccuracy(int(c), int((labels == c).sum()), int(hits[labels == c].sum())) for c in np.unique(labels)
        )
    return Comparison(len(device), mismatches, first, exact, score, classes)


def _differs(a: Array, b: Array, exact: bool) -> Array:
    if exact or a.dtype != np.float32:
        result: Array = (a != b) & ~((a != a) & (b != b))
        return result
    limit = FLOAT_TOLERANCE * (1.0 + float(np.abs(b).max(initial=0.0)))
    result = ~(np.abs(a.astype(np.float64) - b) <= limit)
    return result
