"""Streams of the block kernels: where words are saved, and outputs at the zero point or above by one rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinyopt.execute.integer.arithmetic import multiply_by_quantized_multiplier
from tinyopt.plan.blocks import block_words, fits_relu_blocks, pack_relu_stream, pack_stream


@pytest.mark.parametrize(("taps", "words"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (9, 5), (27, 14)])
def test_two_words_hold_four_taps_and_one_a_tap_that_is_left(taps: int, words: int) -> None:
    assert block_words(taps) == words


def test_every_run_is_padded_by_itself() -> None:
    weights = np.arange(1, 11, dtype=np.int8).reshape(1, 10)
    stream = pack_stream(weights, np.array([7]), np.array([2**30]), np.array([-1]), run=5).view("<i2")
    assert stream[2:6].tolist() == [7, 0, 7, 0]  # two words of bias
    assert [*stream[:2], *stream[6:16]] == [*(1, 3, 2, 4, 5, 0), *(6, 8, 7, 9, 10, 0)]
    assert stream.size == 2 * (2 + 6 + 3)


@given(
    sums=st.integers(1, 23).flatmap(
        lambda bits: st.lists(st.integers(-(1 << bits) + 1, (1 << bits) - 1), min_size=1, max_size=50)
    ),
    multiplier=st.integers(1 << 30, (1 << 31) - 1),
    right=st.integers(-7, 20),
    zero_point=st.integers(-128, 127),
)
@example(sums=[-(1 << 16), 1 << 16], multiplier=1 << 30, right=2, zero_point=-128)
@example(sums=[-(1 << 18), 1 << 18], multiplier=1 << 30, right=20, zero_point=-128)
def test_one_rounding_equals_two_above_the_zero_point(
    sums: list[int], multiplier: int, right: int, zero_point: int
) -> None:
    """In both channels of a pair, which shift at different places."""
    weights, multipliers, shifts = np.zeros((2, 1), np.int8), np.array([multiplier]), np.array([-right])
    bias = np.full(2, max(map(abs, sums)))
    if not fits_relu_blocks(weights, bias, multipliers, shifts, zero_point):
        return
    stream = pack_relu_stream(weights, bias, multipliers, shifts, run=1, zero_point=zero_point).view("<i4")
    shifts_word, low_scale, low_offset, high_scale, high_offset = (int(word) for word in stream[3:8])
    left, high_right = shifts_word & 255, shifts_word >> 16 & 255
    values = np.asarray(sums, np.int64)
    assert int(np.abs(values << left).max()) < 1 << 31
    low = ((values << left) * low_scale >> 32) + low_offset >> 15
    high = (values * 256 * high_scale >> 32) + high_offset >> high_right
    wanted = np.clip(multiply_by_quantized_multiplier(values, multiplier, -right) + zero_point, -128, 127)
    for found in (low, high):
        assert np.array_equal(np.maximum(np.clip(found, -128, 127), zero_point), np.maximum(wanted, zero_point))


@pytest.mark.parametrize(
    ("reach", "right", "fits"),
    [
        (1 << 15, 1, True),  # times 2**15
        (1 << 16, 1, False),
        ((1 << 23) - 1, 7, False),
        ((1 << 23) - 1, 14, True),
        (1 << 14, 15, True),  # every output is the zero point
        (1 << 16, 15, False),
    ],
)
def test_sums_of_a_low_channel_fit_its_shift_to_the_left(reach: int, right: int, fits: bool) -> None:
    weights, multipliers, shifts = np.zeros((1, 1), np.int8), np.array([1 << 30]), np.array([-right])
    assert fits_relu_blocks(weights, np.array([reach]), multipliers, shifts, -128) == fits
    high = fits_relu_blocks(
        np.zeros((2, 1), np.int8), np.array([0, reach]), np.full(2, 1 << 30), np.array([-8, -right]), -128
    )
    assert high, "a high channel comes with its shift to the left"
