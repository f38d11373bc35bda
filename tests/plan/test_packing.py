"""Constants of convolution-like kernels: folded biases, tables stored once, interleaved weights, loops of batches."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinyopt.graph import DType, Quantization, Tensor, ops
from tinyopt.plan.catalogue.matmul import batch_plan
from tinyopt.plan.packing import float_limits, folded_bias, interleave_words, requantization


def test_four_weights_of_each_channel_of_a_block_alternate() -> None:
    weights = np.arange(15, dtype=np.int8).reshape(3, 5)
    assert interleave_words(weights, 2).tolist() == [
        *(0, 1, 2, 3, 5, 6, 7, 8),
        *(4, 0, 0, 0, 9, 0, 0, 0),
        *(10, 11, 12, 13, 14, 0, 0, 0),
    ]


@given(channels=st.integers(1, 9), depth=st.integers(1, 9), block=st.sampled_from([2, 4]))
def test_interleaving_keeps_every_weight(channels: int, depth: int, block: int) -> None:
    weights = np.arange(1, channels * depth + 1, dtype=np.int8).reshape(channels, depth)
    packed = interleave_words(weights, block)
    assert packed.size == channels * -(-depth // 4) * 4
    assert sorted(packed[packed != 0].tolist()) == sorted(weights.reshape(-1).tolist())


def test_the_input_zero_point_goes_into_the_bias() -> None:
    x = Tensor("x", (1, 2), DType.INT8, None, Quantization.per_tensor(1.0, -3))
    weights = np.array([[1, 2], [-4, 0]], np.int8)
    w = Tensor.constant("w", weights, Quantization.per_tensor(1.0))
    bias = Tensor.constant("b", np.array([10, 20], np.int32))
    assert folded_bias((x, w, bias), weights).tolist() == [10 + 9, 20 - 12]
    assert folded_bias((x, w), weights).tolist() == [9, -12]


def test_equal_multipliers_are_stored_once() -> None:
    once = requantization(np.array([5, 5], np.int32), np.array([-1, -1], np.int8))
    each = requantization(np.array([5, 5], np.int32), np.array([-1, -2], np.int8))
    assert (once["per_channel"], once["multipliers"].data.size) == (0, 1)
    assert (each["per_channel"], each["multipliers"].data.size) == (1, 2)


def test_an_open_side_of_a_float_clamp_is_the_largest_float() -> None:
    limits = float_limits(ops.RELU)
    assert limits["clamp_low"] == 0.0
    assert limits["clamp_high"] == np.finfo(np.float32).max


SHAPES = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["both", "first", "second"])), max_size=4)


@given(SHAPES)
def test_the_loops_of_a_batched_product_visit_what_broadcasting_says(axes: list[tuple[int, str]]) -> None:
    a = tuple(size if kind != "second" else 1 for size, kind in axes)
    b = tuple(size if kind != "first" else 1 for size, kind in axes)
    sizes, steps_a, steps_b = batch_plan(a, b)
    visited_a = [sum(i * s for i, s in zip(index, steps_a)) for index in np.ndindex(*sizes)]
    visited_b = [sum(i * s for i, s in zip(index, steps_b)) for index in np.ndindex(*sizes)]
    shape = np.broadcast_shapes(a, b)
    assert visited_a == np.broadcast_to(np.arange(np.prod(a, dtype=int)).reshape(a), shape).reshape(-1).tolist()
    assert visited_b == np.broadcast_to(np.arange(np.prod(b, dtype=int)).reshape(b), shape).reshape(-1).tolist()
