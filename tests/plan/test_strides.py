"""Data movement in as few and as long runs as the operator permits."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinyopt.plan.strides import byte_strides, merge_axes, merge_padding


def test_a_permutation_that_moves_only_axes_of_size_one_is_a_copy() -> None:
    strides = byte_strides((1, 5, 1, 3), 2)
    assert merge_axes((5, 1, 1, 3), [strides[1], strides[0], strides[2], strides[3]], 2).is_copy


def test_channels_last_to_channels_first_has_two_axes_and_runs_of_one_element() -> None:
    strides = byte_strides((1, 8, 6, 4), 1)
    read = merge_axes((1, 4, 8, 6), [strides[i] for i in (0, 3, 1, 2)], 1)
    assert (read.run, read.size, read.stride) == (1, (4, 48), (1, 4))


def test_a_slice_of_rows_is_one_run() -> None:
    read = merge_axes((1, 2, 6, 4), byte_strides((1, 8, 6, 4), 1), 1, offset=24)
    assert (read.run, read.offset, read.size) == (48, 24, ())


@given(st.permutations(range(4)), st.tuples(*[st.integers(1, 4)] * 4))
def test_merging_never_changes_which_bytes_are_read(perm: list[int], shape: tuple[int, ...]) -> None:
    strides = byte_strides(shape, 1)
    read = merge_axes([shape[i] for i in perm], [strides[i] for i in perm], 1)
    data = np.arange(math.prod(shape))
    grids = np.indices((*read.size, read.run)).reshape(len(read.size) + 1, -1)
    at = sum((grid * stride for grid, stride in zip(grids, (*read.stride, 1))), np.zeros(data.size, np.int64))
    np.testing.assert_array_equal(data[at], data.reshape(shape).transpose(perm).reshape(-1))


def test_rows_and_columns_of_a_constant_border_are_padded_in_units_of_pixels() -> None:
    axes = merge_padding((1, 5, 6, 3), (0, 1, 2, 0), (0, 1, 2, 0), 1, constant=True)
    assert (axes.unit, axes.before, axes.size, axes.after) == (3, (1, 2), (5, 6), (1, 2))


def test_a_constant_border_of_rows_alone_is_one_block_before_and_one_behind() -> None:
    axes = merge_padding((1, 5, 6, 3), (0, 1, 0, 0), (0, 2, 0, 0), 1, constant=True)
    assert (axes.unit, axes.before, axes.size, axes.after) == (18, (1,), (5,), (2,))
