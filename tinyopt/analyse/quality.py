"""How good a model's outputs are: accuracy against labels, signal-to-noise ratio against the outputs of another."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinyopt.data import Samples
from tinyopt.graph import Array, DType, Graph
from tinyopt.report import predictions

Step = Callable[[int, int], None]
_CHUNK = 64


def real_outputs(graph: Graph, samples: Samples, *, on_progress: Step | None = None) -> Array:
    """The first output for every sample as real numbers, float64 [samples, elements].

    ``samples`` have the form of the graph's inputs. Float graphs without states run in batches.
    """
    from tinyopt.execute import run_stacked

    tensor = graph.tensors[graph.outputs[0]]
    floats = all(t.dtype is DType.FLOAT32 for t in graph.tensors.values() if not t.is_constant)
    stacked = all(graph.tensors[name].shape[:1] == (1,) for name in graph.inputs)
    rows: list[Array] = []
    if floats and stacked and not graph.states:
        from tinyopt.execute.float import run_batch

        for start in range(0, len(samples), _CHUNK):
            inputs = {name: array[start : start + _CHUNK][:, 0] for name, array in samples.inputs.items()}
            part = run_batch(graph, inputs)[graph.outputs[0]]
            count = min(_CHUNK, len(samples) - start)
            rows.extend(part.reshape(count, -1).astype(np.float64))
            if on_progress:
                on_progress(start + count, len(samples))
    else:
        for index, values in enumerate(run_stacked(graph, samples.inputs)):
            value = values[graph.outputs[0]]
            real = value if tensor.quantization is None else tensor.quantization.dequantize(value)
            rows.append(real.reshape(-1).astype(np.float64))
            if on_progress:
                on_progress(index + 1, len(samples))
    return np.stack(rows)


def accuracy_of(outputs: Array, labels: Array | None, graph: Graph) -> float | None:
    """Share of predictions that are the label; None without labels. ``outputs``: real numbers [samples, elements]."""
    if labels is None:
        return None
    if outputs.shape[1] == 1:
        return float(((outputs[:, 0] > 0.5) == (labels == 1)).mean())
    return float((predictions(list(outputs), graph.tensors[graph.outputs[0]]) == labels).mean())


def sqnr_db(reference: Array, outputs: Array) -> float:
    """Signal-to-quantization-noise ratio, 10 log10(Σ x² / Σ (x - y)²); infinite without noise."""
    noise = float(np.square(reference - outputs).sum())
    power = float(np.square(reference).sum())
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(power / noise) if power > 0.0 else -math.inf
