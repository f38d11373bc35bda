"""Ranges that cut off rare large values, so that the others get finer steps: by squared error and by entropy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyopt.errors import DataError
from tinyopt.graph import Array
from tinyopt.quantize.calibration import BINS, Statistics

_LEVELS = 256
_MIDDLE = BINS // 2


@dataclass(frozen=True)
class MeanSquaredError:
    """The range whose quantization error is least in the mean of squares, over what was seen.

    ``candidates`` ends of the range are tried on each side, down to ``smallest`` of what was seen (Sung et al. 2015;
    Choukroun et al. 2019).
    """

    candidates: int = 64
    smallest: float = 0.1

    def __post_init__(self) -> None:
        if self.candidates < 2 or not 0.0 < self.smallest < 1.0:
            raise DataError(
                f"a search over {self.candidates} ranges down to {self.smallest}: give at least 2 candidates "
                "and a smallest range between 0 and 1"
            )

    def limits(self, statistics: Statistics) -> tuple[float, float]:
        low, high = min(statistics.low, 0.0), max(statistics.high, 0.0)
        if high == low:
            return statistics.low, statistics.high
        values, counts = _occupied(statistics)
        ratios = np.linspace(1.0, self.smallest, self.candidates)

        def best(pairs: list[tuple[float, float]]) -> tuple[float, float]:
            return pairs[int(np.argmin([_squared_error(values, counts, *pair) for pair in pairs]))]

        chosen = best([(low * r, high * r) for r in ratios])
        if low < 0.0 < high:  # the two ends need not shrink alike
            chosen = best([(low * r, chosen[1]) for r in ratios])
            chosen = best([(chosen[0], high * r) for r in ratios])
        return float(chosen[0]), float(chosen[1])


@dataclass(frozen=True)
class Entropy:
    """The range that loses least information: the smallest Kullback-Leibler divergence between what was seen and what
    256 levels make of it (Migacz 2017, 8-bit inference with TensorRT).

    Both sides are cut at the same magnitude. The bin of zero, which holds most values behind a ReLU and is always
    represented exactly, counts like its neighbours.
    """

    candidates: int = 120

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise DataError(f"entropy calibration needs at least 2 candidates, not {self.candidates}")

    def limits(self, statistics: Statistics) -> tuple[float, float]:
        low, high = statistics.low, statistics.high
        if statistics.radius == 0.0 or max(high, 0.0) == min(low, 0.0):
            return low, high
        counts = statistics.histogram.astype(np.float64)
        counts[_MIDDLE] = 0.5 * (counts[_MIDDLE - 1] + counts[_MIDDLE + 1])
        width = 2.0 * statistics.radius / BINS
        widest = int(np.ceil(max(-low, high) / width))
        first = min(widest, _LEVELS // 2 if low < 0.0 else _LEVELS)
        best, chosen = np.inf, widest
        for size in np.unique(np.linspace(widest, first, self.candidates).astype(np.int64))[::-1]:
            start = _MIDDLE - min(int(size), int(np.ceil(max(-low, 0.0) / width)))
            stop = _MIDDLE + min(int(size), int(np.ceil(max(high, 0.0) / width)))
            divergence = _divergence(counts, start, stop)
            if divergence < best:
                best, chosen = divergence, int(size)
        return max(low, float(-chosen * width)), min(high, float(chosen * width))


def _occupied(statistics: Statistics) -> tuple[Array, Array]:
    """Centres of the bins that hold values, inside the extremes, and how many values each holds."""
    bins = np.flatnonzero(statistics.histogram)
    centres = (bins + 0.5) * (2.0 * statistics.radius / BINS) - statistics.radius
    return np.clip(centres, statistics.low, statistics.high), statistics.histogram[bins].astype(np.float64)


def _squared_error(values: Array, counts: Array, low: float, high: float) -> float:
    step = (high - low) / (_LEVELS - 1)
    zero_point = np.rint(-low / step)
    integers = np.clip(np.rint(values / step) + zero_point, 0, _LEVELS - 1)
    return float((counts * np.square((integers - zero_point) * step - values)).sum())


def _divergence(counts: Array, start: int, stop: int) -> float:
    """KL divergence between the bins start … stop, with all outside added to the ends, and their 256 levels."""
    inside = counts[start:stop]
    if not inside.any():
        return float("inf")
    wanted = inside.copy()
    wanted[0] += counts[:start].sum()
    wanted[-1] += counts[stop:].sum()
    edges = np.unique(np.linspace(0, len(inside), min(_LEVELS, len(inside)) + 1).astype(np.int64))
    sums = np.add.reduceat(inside, edges[:-1])
    filled = np.add.reduceat((inside > 0).astype(np.float64), edges[:-1])
    level = np.repeat(np.where(filled > 0, sums / np.maximum(filled, 1.0), 0.0), np.diff(edges))
    got = np.where(inside > 0, level, 0.0)
    p, q = wanted / wanted.sum(), got / got.sum()
    used = p > 0
    return float((p[used] * np.log(p[used] / np.maximum(q[used], 1e-9))).sum())
