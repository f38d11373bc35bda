"""Calibration sees every activation of every sample, and a method turns that into a range."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyopt.data import Samples
from tinyopt.errors import DataError
from tinyopt.graph import DType, Graph, GraphBuilder, ops
from tinyopt.quantize import MaxRange, Percentile, Statistics, calibrate
from tinyopt.quantize.calibration import BINS


def statistics(*parts: np.ndarray) -> Statistics:
    result = Statistics()
    for part in parts:
        result.add(part.astype(np.float32))
    return result


def test_the_maximum_method_covers_everything() -> None:
    seen = statistics(np.array([0.5, 1.0]), np.array([-3.0, 2.0]))
    assert MaxRange().limits(seen) == (-3.0, 2.0)


@given(
    seed=st.integers(0, 1000),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5),
    scale=st.sampled_from([1e-6, 1.0, 3e4]),
)
def test_the_histogram_counts_every_value_while_its_range_grows(seed: int, sizes: list[int], scale: float) -> None:
    random = np.random.default_rng(seed)
    parts = [random.normal(0, scale * 10**k, n) for k, n in enumerate(sizes)]
    seen = statistics(np.zeros(3), *parts)
    values = np.concatenate([np.zeros(3), *parts]).astype(np.float32)
    assert seen.count == seen.histogram.sum() == len(values)
    assert (seen.low, seen.high) == (values.min(), values.max())
    width = 2 * seen.radius / BINS
    for percent in (60.0, 90.0, 99.0):
        low, high = Percentile(percent).limits(seen)
        assert seen.low <= low <= high <= seen.high
        assert abs(high - np.quantile(values, percent / 100, method="inverted_cdf")) <= 2 * width


def test_a_percentile_leaves_outliers_out() -> None:
    random = np.random.default_rng(0)
    seen = statistics(random.uniform(-1, 1, 100_000), np.array([500.0, -400.0]))
    low, high = Percentile(99.9).limits(seen)
    assert -1.5 < low < -0.9 and 0.9 < high < 1.5
    assert Percentile(100.0).limits(seen) == (seen.low, seen.high)


@pytest.mark.parametrize("percent", [0.0, 50.0, 101.0, math.nan])
def test_an_impossible_percentile_is_refused(percent: float) -> None:
    with pytest.raises(DataError, match="between 50 and 100"):
        Percentile(percent)


def square() -> Graph:
    b = GraphBuilder("square")
    x = b.input("x", (1, 3), DType.FLOAT32)
    b.output(b.add(ops.Unary(ops.UnaryKind.SQUARE), [x], output="y"))
    return b.build()


def test_every_activation_is_seen_and_progress_is_told() -> None:
    graph, steps = square(), []
    data = np.arange(300, dtype=np.float32).reshape(100, 3)
    seen = calibrate(
        graph, Samples.from_array(data, graph), on_progress=lambda done, total: steps.append((done, total))
    )
    assert (seen.tensors["x"].low, seen.tensors["x"].high) == (0.0, 299.0)
    assert (seen.tensors["y"].low, seen.tensors["y"].high) == (0.0, 299.0**2)
    assert seen.tensors["y"].count == 300
    assert steps[-1] == (100, 100)


def test_states_carry_over_from_sample_to_sample() -> None:
    b = GraphBuilder("sum")
    x = b.input("x", (1, 1), DType.FLOAT32)
    total = b.add(ops.Binary(ops.BinaryKind.ADD), [x, b.state("s", np.zeros((1, 1), np.float32))], output="total")
    b.assign("s", total)
    b.output(total)
    graph = b.build()
    seen = calibrate(graph, Samples.from_array(np.ones((10, 1), np.float32), graph))
    assert seen.tensors["total"].high == 10.0


def test_an_activation_that_overflows_is_named() -> None:
    graph = square()
    with pytest.raises(DataError, match="'y' becomes NaN or infinite"):
        calibrate(graph, Samples.from_array(np.full((1, 3), 1e30, np.float32), graph))
