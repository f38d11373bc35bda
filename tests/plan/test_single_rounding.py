"""One rounding gives what two give, for every sum within reach."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyopt.execute.integer.arithmetic import multiply_by_quantized_multiplier
from tinyopt.plan.single_rounding import SHIFT, SingleRounding, single_rounding


def outputs(found: SingleRounding, sums: np.ndarray, channel: int, zero_point: int, low: int) -> np.ndarray:
    """As the kernels compute them."""
    k = int(found.scales[channel])
    high = ((sums << k) + int(found.bias[channel])) * int(found.multipliers[channel]) >> 32
    value = (high + (zero_point << SHIFT) + (1 << (SHIFT - 1)) + (1 << (k - 2))) >> SHIFT
    return np.clip(value, low, 127)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([-128, -128, -3, 100]), st.integers(0, 9), st.integers(-16, 2))
def test_every_sum_within_reach_is_requantized_as_the_contract_says(
    seed: int, zero_point: int, above: int, shift: int
) -> None:
    random = np.random.default_rng(seed)
    largest = 30 if shift < -3 else 1  # where little is shifted away, sums are small
    weights = random.integers(-largest, largest + 1, (3, 9)).astype(np.int8)
    bias = random.integers(-(2**20), 2**20, 3) // (1 if largest > 1 else 1 << 10)
    multipliers = random.integers(2**30, 2**31, 3)
    shifts = np.array([shift, max(shift - 1, -16), -7])
    low = zero_point + above
    found = single_rounding(weights, bias, multipliers, shifts, zero_point, low)
    if found is None:
        assert shift < SHIFT - 1  # exact scales are never refused
        return
    for channel in range(3):
        wide = weights[channel].astype(np.int64)
        sums = np.arange(np.minimum(-128 * wide, 127 * wide).sum(), np.maximum(-128 * wide, 127 * wide).sum() + 1)
        twice = multiply_by_quantized_multiplier(sums + bias[channel], multipliers[channel], shifts[channel])
        expected = np.clip(twice + zero_point, low, 127)
        np.testing.assert_array_equal(outputs(found, sums, channel, zero_point, low), expected)


def test_a_hardly_used_channel_beside_large_biases_is_found() -> None:
    """Channels that are almost dead: small products, a large bias, a tiny multiplier."""
    weights = np.array([[3, 0, -2, 1, 0, 0, 1, 0, 0]] * 2, np.int8)
    found = single_rounding(
        weights, np.array([749_116, 637_257]), np.array([1_500_000_000] * 2), np.array([-16, -14]), -128, -128
    )
    assert found is not None


@pytest.mark.parametrize(("weight", "least_shift"), [(1, 2), (-1, 2), (3, 1), (7, 0), (64, -4), (127, -4), (-128, -4)])
def test_the_smaller_the_weights_the_less_may_be_shifted_away(weight: int, least_shift: int) -> None:
    """What is not shifted to the right by the contract is scaled up before: weights of few values have room for it."""
    weights, multipliers = np.full((1, 9), weight, np.int8), np.array([1_500_000_001])
    for shift in (least_shift, least_shift + 1):
        found = single_rounding(weights, np.array([11]), multipliers, np.array([shift]), -128, -128)
        assert (found is not None) == (shift == least_shift)


@pytest.mark.parametrize(
    ("weight", "shifts", "low"),
    [(5, [-7, 1], -128), (5, [-7, -7], -129), (100, [-7, -3], -128)],
    ids=["a shift to the left", "outputs below the zero point", "a scale beyond 16 bits"],
)
def test_what_one_rounding_cannot_do_is_refused(weight: int, shifts: list[int], low: int) -> None:
    weights = np.full((2, 9), weight, np.int8)
    assert single_rounding(weights, np.zeros(2), np.array([2**30] * 2), np.array(shifts), -128, low) is None
