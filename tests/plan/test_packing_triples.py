"""Weights for pixel triples: the blocks' order, and segments whose sums come apart whatever the input."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinyopt.plan.catalogue.convolution_triples import pack_blocks, segment_taps
from tinyopt.plan.packing import is_narrow, right_shifts, sum_reach

LIMIT = 2**20 - 2**10


@given(channels=st.integers(1, 11), pairs=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_block_holds_four_channels_by_two_taps(channels: int, pairs: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(-128, 128, (channels, 2 * pairs))
    packed = pack_blocks(rows)
    assert packed.size == -(-channels // 2) * 2 * 2 * pairs
    for channel in range(channels):
        block = packed[channel // 4 * 8 * pairs :][: 8 * pairs].reshape(pairs, -1)  # eight bytes, or four at the end
        at = channel % 4 // 2 * 4 + channel % 2
        assert np.array_equal(block[:, [at, at + 2]].reshape(-1), rows[channel])


def take_apart(a: int, b: int) -> tuple[int, int, int]:
    """What ``tinyopt_triples_split`` does, in wide integers."""

    def signed(value: int, bits: int) -> int:
        return (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))

    s2 = signed(b, 21)
    estimate = a >> 11
    s1 = estimate + signed(((b - s2) >> 21) - estimate, 11)
    return a - (s1 << 11), s1, s2


def test_three_sums_come_apart_at_their_limits() -> None:
    values = [-LIMIT, -LIMIT + 1, -1, 0, 1, 2047, 2048, -2048, -2049, LIMIT - 1, LIMIT]
    for s0 in values:
        for s1 in values:
            for s2 in values:
                a, b = s0 + (s1 << 11), s2 + (s1 << 21)
                assert -(2**31) <= a < 2**31
                wrapped = (b + 2**31) % 2**32 - 2**31
                assert take_apart(a, wrapped) == (s0, s1, s2)


@given(channels=st.integers(1, 4), pairs=st.integers(1, 300), seed=st.integers(0, 99), extreme=st.booleans())
def test_no_segment_leaves_the_limit(channels: int, pairs: int, seed: int, extreme: bool) -> None:
    random = np.random.default_rng(seed)
    rows = random.integers(-128, 128, (channels, 2 * pairs)).astype(np.int64)
    if extreme:
        rows = np.broadcast_to(random.choice([-128, 127], (channels, 1)), rows.shape).astype(np.int64)
    segment = segment_taps(rows)
    assert segment % 2 == 0 and 2 <= segment <= 2 * pairs
    for start in range(0, 2 * pairs, segment):
        part = rows[:, start : start + segment]
        assert np.maximum(-128 * part, 127 * part).sum(axis=1).max() < LIMIT
        assert np.maximum(128 * part, -127 * part).sum(axis=1).max() < LIMIT
    if np.abs(rows).sum(axis=1).max() * 128 < LIMIT:
        assert segment == 2 * pairs


def test_narrow_sums_stay_below_their_limit() -> None:
    weights = np.array([[127] * 10, [-128] * 10], np.int8)
    bias = np.array([5, -7], np.int32)
    assert sum_reach(weights, bias) == 10 * 128 * 128 - 7
    one = np.array([1 << 30])
    assert is_narrow(weights, bias, one, np.array([-1]))
    assert not is_narrow(weights, bias, one, np.array([0]))
    assert not is_narrow(weights, np.array([5, (1 << 23) - 10 * 127 * 128], np.int32), one, np.array([-1]))


def test_a_channel_of_zeros_may_have_any_shift() -> None:
    assert list(right_shifts(np.array([0, 1 << 30]), np.array([4, -3]))) == [-1, -3]
