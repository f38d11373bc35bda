"""Operators that only move data."""

from __future__ import annotations

import numpy as np
import pytest

from tinyopt.errors import GraphError
from tinyopt.execute.integer import integer_functions
from tinyopt.graph import Array, DType, Quantization, Tensor, infer_shapes, ops

Q = Quantization.per_tensor(0.5, 3)


def move(attributes: ops.Attributes, *arrays: Array, quantization: Quantization | None = None) -> list[Array]:
    ins = [Tensor(f"x{i}", a.shape, DType.of(a), None, quantization) for i, a in enumerate(arrays)]
    shapes = infer_shapes(attributes, [a.shape for a in arrays])
    outs = [Tensor(f"y{i}", shape, ins[0].dtype, None, quantization) for i, shape in enumerate(shapes)]
    results = integer_functions()[type(attributes)](attributes, list(arrays), ins, outs)
    for tensor, array in zip(outs, results):
        assert array.shape == tensor.shape
        assert array.dtype == tensor.dtype.numpy
        assert array.flags.c_contiguous
    return results


IMAGE = np.arange(24, dtype=np.int8).reshape(1, 2, 3, 4)


def test_transpose_moves_axis_perm_i_to_axis_i() -> None:
    assert move(ops.Transpose((0, 3, 1, 2)), IMAGE)[0][0, 3, 1, 2] == IMAGE[0, 1, 2, 3]


def test_a_slice_with_a_negative_stride_runs_backwards() -> None:
    x = np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(move(ops.Slice((5,), (3,), (-2,)), x)[0], [5, 3, 1])


def test_split_undoes_concat() -> None:
    joined = move(ops.Concat(2), IMAGE, IMAGE[:, :, :1])[0]
    parts = move(ops.Split(2, (3, 1)), joined)
    np.testing.assert_array_equal(parts[0], IMAGE)
    np.testing.assert_array_equal(parts[1], IMAGE[:, :, :1])


def test_concat_of_tensors_with_different_scales_is_refused() -> None:
    ins = [Tensor(n, (2,), DType.INT8, None, q) for n, q in (("a", Q), ("b", Quantization.per_tensor(0.25)))]
    out = Tensor("y", (4,), DType.INT8, None, Q)
    with pytest.raises(GraphError, match=r"'b'.*insert a Quantize"):
        integer_functions()[ops.Concat](ops.Concat(0), [np.zeros(2, np.int8)] * 2, ins, [out])


@pytest.mark.parametrize(("value", "element"), [(0.0, 3), (1.0, 5), (1000.0, 127)])
def test_constant_padding_of_a_quantized_tensor_writes_the_quantized_value(value: float, element: int) -> None:
    padded = move(ops.Pad((1,), (2,), ops.PadMode.CONSTANT, value), np.zeros(1, np.int8), quantization=Q)[0]
    np.testing.assert_array_equal(padded, [element, 0, element, element])


def test_reflection_does_not_repeat_the_edge_and_edge_padding_does() -> None:
    x = np.array([1, 2, 3], np.int16)
    np.testing.assert_array_equal(move(ops.Pad((2,), (1,), ops.PadMode.REFLECT), x)[0], [3, 2, 1, 2, 3, 2])
    np.testing.assert_array_equal(move(ops.Pad((2,), (1,), ops.PadMode.EDGE), x)[0], [1, 1, 1, 2, 3, 3])


def test_an_index_outside_the_axis_reads_its_nearest_end() -> None:
    x = np.array([[10, 11], [20, 21], [30, 31]], np.int8)
    rows = move(ops.Gather(0), x, np.array([-1, 0, 7], np.int32))[0]
    np.testing.assert_array_equal(rows, [[10, 11], [10, 11], [30, 31]])


def test_a_scalar_index_removes_the_axis() -> None:
    assert move(ops.Gather(0), np.array([4, 5], np.int8), np.array(1, np.int64))[0] == 5


def test_broadcast_repeats_axes_of_size_one_and_adds_leading_axes() -> None:
    x = np.array([[1], [2]], np.int32)
    np.testing.assert_array_equal(move(ops.BroadcastTo((2, 2, 3)), x)[0], np.broadcast_to(x, (2, 2, 3)))
