"""Where quantization costs precision: float and integer execution compared tensor by tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinyopt.data import Spec, load_samples
from tinyopt.execute import Executor
from tinyopt.graph import Array, DType, Graph, Tensor
from tinyopt.optimise import optimise


@dataclass(frozen=True)
class TensorError:
    """``sqnr_db``: signal-to-quantization-noise ratio, 10 log10(sum x² / sum (x - x_q)²); infinite without noise.

    ``largest``: the largest absolute difference. ``operator``: who writes the tensor.
    """

    tensor: str
    operator: str
    sqnr_db: float
    largest: float


def compare_tensors(graph: Graph, quantized: Graph, samples: Spec) -> tuple[TensorError, ...]:
    """The error of every activation that both graphs have, in the order of the quantized graph.

    ``graph``: the float graph that ``quantize`` was given; ``samples``: float samples for it. Errors accumulate along
    the graph: each tensor is compared with what the float graph computes for the same sample.

    Raises:
        DataError: when the samples do not fit.
    """
    reference = optimise(graph)
    data = load_samples(samples, graph)
    wanted: dict[str, Array] = {}
    sums: dict[str, list[float]] = {}

    def remember(tensor: Tensor, values: Array) -> None:
        if tensor.dtype is DType.FLOAT32:
            wanted[tensor.name] = values

    def compare(tensor: Tensor, values: Array) -> None:
        if tensor.name not in wanted:
            return
        real = values if tensor.quantization is None else tensor.quantization.dequantize(values)
        exact = wanted[tensor.name].astype(np.float64)
        difference = exact - real
        entry = sums.setdefault(tensor.name, [0.0, 0.0, 0.0])
        entry[0] += float(np.square(exact).sum())
        entry[1] += float(np.square(difference).sum())
        entry[2] = max(entry[2], float(np.abs(difference).max(initial=0.0)))

    first, second = Executor(reference, observe=remember), Executor(quantized, observe=compare)
    for sample in data:
        first(sample)
        second({name: _for_input(quantized.tensors[name], sample[name]) for name in quantized.inputs})
    writers = quantized.producers
    return tuple(
        TensorError(name, writers[name].name if name in writers else "(input)", _decibels(power, noise), largest)
        for name, (power, noise, largest) in sums.items()
    )


def _for_input(tensor: Tensor, values: Array) -> Array:
    if tensor.quantization is not None and values.dtype == np.float32:
        return tensor.quantization.quantize(values, tensor.dtype)
    return values


def _decibels(power: float, noise: float) -> float:
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(power / noise) if power > 0.0 else -math.inf
