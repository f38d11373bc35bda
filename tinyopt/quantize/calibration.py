"""Calibration: run the float graph over samples and describe the values of every activation.

A calibration method is a frozen dataclass that turns the ``Statistics`` of a tensor into the range that its integers
will cover. A new method is one more class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tinyopt.data import Samples
from tinyopt.errors import DataError
from tinyopt.execute import Executor
from tinyopt.graph import Array, DType, Graph, Tensor, batch_problem, ops

BINS = 4096
_BATCH_BYTES = 64 << 20
"""Activations of one calibration batch."""
_LARGEST_BATCH = 64


@dataclass
class Statistics:
    """What was seen of one tensor: extremes, and a histogram of ``BINS`` equal bins over [-radius, radius].

    The radius is a power of two and doubles when a larger value comes, so that one pass is enough.
    """

    low: float = math.inf
    high: float = -math.inf
    count: int = 0
    radius: float = 0.0
    histogram: Array = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: Array) -> None:
        """Take in the values of a float array of any shape."""
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.count += values.size
        magnitude = max(-low, high)
        if magnitude > self.radius:
            self._grow(magnitude)
        if self.radius == 0.0:
            self.histogram[BINS // 2] += values.size
            return
        scaled = (values.reshape(-1).astype(np.float64) + self.radius) * (BINS / (2 * self.radius))
        self.histogram += np.bincount(np.minimum(scaled.astype(np.int64), BINS - 1), minlength=BINS)

    def _grow(self, magnitude: float) -> None:
        wanted = 2.0 ** math.ceil(math.log2(magnitude))
        if self.radius == 0.0:
            self.radius = wanted  # until now every value was zero, which stays in the middle bin
        while self.radius < wanted and self.histogram.any():
            pairs = self.histogram.reshape(-1, 2).sum(1)
            self.histogram = np.zeros(BINS, np.int64)
            self.histogram[BINS // 4 : 3 * BINS // 4] = pairs
            self.radius *= 2
        self.radius = max(self.radius, wanted)

    def quantile(self, fraction: float, *, upper: bool) -> float:
        """The edge of the histogram bin in which the fraction of values is reached, inside the extremes."""
        reached = int(np.searchsorted(np.cumsum(self.histogram), max(fraction * self.count, 1.0)))
        edge = (min(reached, BINS - 1) + upper) * (2 * self.radius / BINS) - self.radius
        return min(max(edge, self.low), self.high)


class CalibrationMethod(Protocol):
    """How a range is chosen from what was seen."""

    def limits(self, statistics: Statistics) -> tuple[float, float]:
        """The smallest and largest real value that the integers shall represent."""


@dataclass(frozen=True)
class MaxRange:
    """Everything that was seen."""

    def limits(self, statistics: Statistics) -> tuple[float, float]:
        return statistics.low, statistics.high


@dataclass(frozen=True)
class Percentile:
    """All but the most extreme values: ``percent`` of them lie below the upper limit, as many above the lower one.

    Migacz 2017; Wu et al. 2020, section 3.3.
    """

    percent: float = 99.99

    def __post_init__(self) -> None:
        if not 50.0 < self.percent <= 100.0:
            raise DataError(f"a calibration percentile must lie between 50 and 100, not {self.percent}")

    def limits(self, statistics: Statistics) -> tuple[float, float]:
        if self.percent == 100.0:
            return statistics.low, statistics.high
        fraction = self.percent / 100.0
        low, high = statistics.quantile(1.0 - fraction, upper=False), statistics.quantile(fraction, upper=True)
        return min(low, high), max(low, high)


@dataclass(frozen=True, eq=False)
class Calibration:
    """``tensors``: float activation → statistics. ``cells``: LSTM operator → largest magnitude of its cell state."""

    tensors: Mapping[str, Statistics]
    cells: Mapping[str, float]


def calibrate(graph: Graph, samples: Samples, *, on_progress: Callable[[int, int], None] | None = None) -> Calibration:
    """Run a float graph over all samples, in order; states carry over from one to the next.

    ``on_progress``: called with (samples done, samples).

    Raises:
        DataError: when an activation becomes NaN or infinite on a sample.
    """
    from tinyopt.execute.float import run_batch

    tensors: dict[str, Statistics] = {}
    cells = _CellWatch(graph)
    done = 0

    def observe(tensor: Tensor, values: Array) -> None:
        if tensor.dtype is not DType.FLOAT32:
            return
        if not np.isfinite(values).all():
            raise DataError(
                f"'{tensor.name}' becomes NaN or infinite in the samples {done} and following; "
                "check the calibration data and the weights"
            )
        tensors.setdefault(tensor.name, Statistics()).add(values)
        cells.see(tensor, values)

    size = 1
    if batch_problem(graph) is None and all(graph.tensors[name].shape[:1] == (1,) for name in graph.inputs):
        total = sum(t.nbytes for t in graph.tensors.values() if not t.is_constant)
        size = max(1, min(_LARGEST_BATCH, _BATCH_BYTES // total))
    executor = Executor(graph, observe=observe)
    for start in range(0, len(samples), size):
        done = start
        arrays = {name: array[start : start + size] for name, array in samples.inputs.items()}
        if size == 1:
            executor({name: array[0] for name, array in arrays.items()})
        else:
            # [samples, 1, ...] of the data is [samples, ...] of a stacked batch.
            run_batch(graph, {name: array[:, 0] for name, array in arrays.items()}, observe=observe)
        if on_progress:
            on_progress(min(start + size, len(samples)), len(samples))
    return Calibration(tensors, cells.largest)


class _CellWatch:
    """Follows the cell states of LSTM layers step by step; the graph shows only the last one."""

    def __init__(self, graph: Graph) -> None:
        self.largest: dict[str, float] = {}
        self._graph = graph
        self._layers = {o.outputs[2]: o for o in graph.operators if isinstance(o.attributes, ops.Lstm)}
        self._wanted = {name for o in self._layers.values() for name in o.inputs}
        self._values: dict[str, Array] = {}

    def see(self, tensor: Tensor, values: Array) -> None:
        if tensor.name in self._wanted:
            self._values[tensor.name] = values
        layer = self._layers.get(tensor.name)
        if layer is None:
            return
        attributes = layer.attributes
        assert isinstance(attributes, ops.Lstm)
        arrays = [t.data if t.data is not None else self._values[t.name] for t in self._graph.ins(layer)]
        largest = _largest_cell(attributes, arrays)
        self.largest[layer.name] = max(self.largest.get(layer.name, 0.0), largest)


def _largest_cell(a: ops.Lstm, arrays: list[Array]) -> float:
    """The largest magnitude of an LSTM's cell state over all steps (see ``tinyopt.graph.ops.Lstm``)."""
    x, weights, recurrent, bias, hidden, cell = (array.astype(np.float64) for array in arrays)
    largest = float(np.abs(cell).max())
    steps = range(x.shape[1])
    for step in reversed(steps) if a.reverse else steps:
        gates = x[:, step] @ weights.T + bias + hidden @ recurrent.T
        i, f, g, o = np.split(gates, 4, axis=-1)
        cell = _logistic(f) * cell + _logistic(i) * np.tanh(g)
        if a.cell_clip > 0:
            cell = np.clip(cell, -a.cell_clip, a.cell_clip)
        hidden = _logistic(o) * np.tanh(cell)
        largest = max(largest, float(np.abs(cell).max()))
    return largest


def _logistic(x: Array) -> Array:
    result: Array = 0.5 * (1.0 + np.tanh(0.5 * x))
    return result
