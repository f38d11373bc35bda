"""The byte streams of the Helium kernels hold every weight, bias and scale at its place, and zeros elsewhere."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinyopt.plan.blocks_mve import pack_vectors, padded_to_vectors, requantization_lanes
from tinyopt.plan.packing import all_shift_right


@given(channels=st.integers(1, 9), runs=st.integers(1, 3), taps=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_stream_holds_four_channels_at_a_time(channels: int, runs: int, taps: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    weights = random.integers(-128, 128, (channels, runs, taps)).astype(np.int8)
    bias = random.integers(-(2**31), 2**31, channels).astype(np.int32)
    multipliers = random.integers(1, 2**31, channels).astype(np.int32)
    shifts = random.integers(-20, 0, channels)
    width = padded_to_vectors(taps)
    stream = pack_vectors(weights, bias, multipliers, shifts)
    blocks = stream.reshape(-(-channels // 4), 4 * runs * width + 48)
    for channel in range(4 * len(blocks)):
        block, lane = blocks[channel // 4], channel % 4
        vectors = block[: 4 * runs * width].reshape(runs, width // 16, 4, 16)[:, :, lane].reshape(runs, width)
        numbers = block[4 * runs * width :].view("<i4").reshape(3, 4)[:, lane]
        if channel >= channels:
            assert not vectors.any() and list(numbers) == [0, 0, -1]
            continue
        assert np.array_equal(vectors[:, :taps], weights[channel]) and not vectors[:, taps:].any()
        assert list(numbers) == [bias[channel], multipliers[channel], shifts[channel]]


def test_one_scale_serves_every_channel() -> None:
    lanes = requantization_lanes(np.arange(5, dtype=np.int32), np.array([7]), np.array([-3]))
    assert lanes.shape == (2, 12)
    assert list(lanes[0]) == [0, 1, 2, 3, 7, 7, 7, 7, -3, -3, -3, -3]
    assert list(lanes[1][[0, 4, 8]]) == [4, 7, -3]


def test_a_channel_that_is_always_zero_may_have_any_shift() -> None:
    assert all_shift_right(np.array([5, 0]), np.array([-1, 3]))
    assert not all_shift_right(np.array([5, 1]), np.array([-1, 0]))
    assert requantization_lanes(np.zeros(1, np.int32), np.array([0]), np.array([4]))[0][8] == -1
