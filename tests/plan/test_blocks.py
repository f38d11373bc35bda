"""Streams of the block kernels: where words are saved, and outputs at the zero point or above by one rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
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
    sums=st.lists(st.integers(-(1 << 23) + 1, (1 << 23) - 1), min_size=1, max_size=50),
    multiplier=st.integers(1 << 30, (1 << 31) - 1),
    right=st.integers(1, 20),
    zero_point=st.integers(-128, 127),
)
def test_one_rounding_equals_two_above_the_zero_point(
    sums: list[int], multiplier: int, right: int, zero_point: int
) -> None:
    weights, multipliers, shifts = np.ones((1, 1), np.int8), np.array([multiplier]), np.array([-right])
    if not fits_relu_blocks(weights, np.array([max(map(abs, sums))]), multipliers, shifts, zero_point):
        return
    stream = pack_relu_stream(weights, np.array([0]), multipliers, shifts, run=1, zero_point=zero_point).view("<i4")
    shift, scale, offset = (int(word) for word in stream[3:6])
    values = np.asarray(sums, np.int64)
    found = np.clip(((values * 256 * scale >> 32) + offset) >> (shift & 255), -128, 127)
    wanted = multiply_by_quantized_multiplier(values, multiplier, -right) + zero_point
    assert np.array_equal(np.maximum(found, zero_point), np.clip(wanted, zero_point, 127))
