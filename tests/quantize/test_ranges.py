"""Ranges by squared error and by entropy cut off what costs more than it gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyopt.errors import DataError
from tinyopt.graph import Array, DType
from tinyopt.quantize import CalibrationMethod, Entropy, MeanSquaredError, Statistics
from tinyopt.quantize.parameters import activation_quantization

METHODS = [MeanSquaredError(), Entropy()]


def statistics(values: Array) -> Statistics:
    result = Statistics()
    result.add(values.astype(np.float32))
    return result


def squared_error(values: Array, low: float, high: float) -> float:
    form = activation_quantization(low, high)
    return float(np.square(form.dequantize(form.quantize(values, DType.INT8)) - values).mean())


@pytest.mark.parametrize("method", METHODS, ids=repr)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 500),
    scale=st.sampled_from([1e-6, 1.0, 3e4]),
    shift=st.sampled_from([-3.0, 0.0, 0.5]),
    rectified=st.booleans(),
)
def test_a_range_lies_inside_what_was_seen(
    method: CalibrationMethod, seed: int, count: int, scale: float, shift: float, rectified: bool
) -> None:
    values = (np.random.default_rng(seed).normal(shift, 1.0, count) * scale).astype(np.float32)
    if rectified:
        values = np.maximum(values, 0)
    low, high = method.limits(statistics(values))
    assert min(float(values.min()), 0.0) <= low <= high <= max(float(values.max()), 0.0)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_nothing_but_zeros(method: CalibrationMethod) -> None:
    assert method.limits(statistics(np.zeros(10))) == (0.0, 0.0)


@pytest.mark.parametrize("rectified", [False, True])
def test_squared_error_beats_the_maximum(rectified: bool) -> None:
    values = np.random.default_rng(0).laplace(size=100_000).astype(np.float32)
    if rectified:
        values = np.maximum(values, 0)
    low, high = MeanSquaredError().limits(statistics(values))
    assert squared_error(values, low, high) < 0.97 * squared_error(values, values.min(), values.max())


def test_both_ends_are_searched_by_themselves() -> None:
    values = np.append(np.random.default_rng(0).normal(size=1_000_000), [-40.0]).clip(None, 3.0)
    low, high = MeanSquaredError().limits(statistics(values))
    assert -30.0 < low < -5.0
    assert high > 2.9


def test_entropy_cuts_far_outliers_and_keeps_even_distributions() -> None:
    random = np.random.default_rng(0)
    values = np.append(np.maximum(random.normal(size=200_000), 0), [40.0] * 5)
    low, high = Entropy().limits(statistics(values))
    assert low == 0.0 and 3.0 < high < 10.0
    even = random.uniform(-1, 1, 200_000)
    low, high = Entropy().limits(statistics(even))
    assert low < -0.99 and high > 0.99


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DataError, match="candidates"):
        MeanSquaredError(candidates=1)
    with pytest.raises(DataError, match="between 0 and 1"):
        MeanSquaredError(smallest=1.5)
    with pytest.raises(DataError, match="candidates"):
        Entropy(candidates=0)
