"""Sums of int8 tensors as one linear form: every pair of operands gives the executor's output."""

from __future__ import annotations

import numpy as np
import pytest

from tinyopt.execute.integer.elementwise import binary
from tinyopt.graph import DType, Quantization, Tensor, ops
from tinyopt.plan.linear_sum import linear_sum

ADD, SUB = ops.Binary(ops.BinaryKind.ADD), ops.Binary(ops.BinaryKind.SUB)
ADD_RELU = ops.Binary(ops.BinaryKind.ADD, ops.RELU)
VALUES = np.arange(-128, 128, dtype=np.int64)


def tensor(scale: float, zero_point: int, shape: tuple[int, ...] = (256, 256)) -> Tensor:
    return Tensor("t", shape, DType.INT8, quantization=Quantization.per_tensor(float(np.float32(scale)), zero_point))


@pytest.mark.parametrize("attributes", [ADD, SUB, ADD_RELU])
@pytest.mark.parametrize(
    ("a", "b", "y"),
    [
        ((0.05, -3), (0.05, -3), (0.095, 11)),
        ((0.1, 0), (0.1, 0), (0.2, 0)),  # every second sum is a tie
        ((0.1, -128), (0.1, 127), (0.1, -128)),
        ((0.0173, 5), (0.31, -90), (0.2, -128)),
        ((0.5, 1), (0.002, 2), (0.25, 3)),
        ((0.001, 1), (0.002, 2), (3.0, 3)),
    ],
)
def test_every_pair_of_operands_gives_the_same_output(attributes, a, b, y) -> None:
    first, second, output = tensor(*a, (256, 1)), tensor(*b, (1, 256)), tensor(*y)
    form = linear_sum(attributes, first, second, output)
    assert form is not None
    sums = VALUES[:, None] * form.first + (VALUES[None, :] * form.second + form.offset)
    found = form.low + np.clip(sums >> form.shift, 0, form.high - form.low)
    operands = (VALUES[:, None].astype(np.int8), VALUES[None, :].astype(np.int8))
    assert np.array_equal(found, binary(attributes, operands, (first, second), (output,))[0])
    assert np.abs(sums).max() < 2**31
    assert np.abs(sums - (128 << form.shift)).max() < 2**31


def test_without_quantization_there_is_no_form() -> None:
    plain = Tensor("t", (4,), DType.INT8)
    assert linear_sum(ADD, plain, plain, plain) is None
