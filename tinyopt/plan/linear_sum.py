"""Sums of two int8 tensors as one linear form, proved for every pair of operands.

TensorFlow Lite Micro's ADD rescales three times. Both operands are int8, so there are 65,536 pairs in all; for most
quantizations some integers p, q, r and s give the same output for every one of them::

    low + clamp((a * p + b * q + r) >> s, 0, high - low)

The search tries p and q next to the ratios of the scales. For each, what the pairs ask of r is an interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.execute.integer.elementwise import binary
from tinyopt.graph import Array, DType, Quantization, Tensor, ops
from tinyopt.graph.ops import BinaryKind

_REACH = 4
"""How far p and q may lie from the ratios."""
_SHIFTS = 2
"""How many shifts are tried, the largest first."""
_LARGEST_SHIFT = 23
"""So that an output limit, shifted, fits."""


@dataclass(frozen=True)
class LinearSum:
    """output = low + clamp((a * first + b * second + offset) >> shift, 0, high - low), within 32 bits."""

    first: int
    second: int
    offset: int
    shift: int
    low: int
    high: int


def linear_sum(attributes: ops.Binary, a: Tensor, b: Tensor, y: Tensor) -> LinearSum | None:
    """The linear form of an int8 sum or difference; None where the search finds none."""
    if not (a.quantization and b.quantization and y.quantization):
        return None
    return _search(attributes, a.quantization, b.quantization, y.quantization)


@cache
def _search(attributes: ops.Binary, a: Quantization, b: Quantization, y: Quantization) -> LinearSum | None:
    outputs, low, high = _outputs(attributes, a, b, y)
    ratios = (a.scale / y.scale, (1 if attributes.op is BinaryKind.ADD else -1) * b.scale / y.scale)
    largest = 31 - math.ceil(math.log2(256 * sum(map(abs, ratios)) + abs(y.zero_point) + 256))
    moves = sorted(((i, j) for i in range(-_REACH, _REACH + 1) for j in range(-_REACH, _REACH + 1)), key=_distance)
    first_shift = min(largest + 1, _LARGEST_SHIFT)
    for shift in range(first_shift, max(first_shift - _SHIFTS, 0), -1):
        nominal = [round(ratio * 2**shift) for ratio in ratios]
        for first, second in ((nominal[0] + i, nominal[1] + j) for i, j in moves):
            offset = _offset(outputs - low, high - low, first, second, shift)
            if offset is not None:
                return LinearSum(first, second, offset, shift, low, high)
    return None


def _distance(move: tuple[int, int]) -> tuple[int, int, int]:
    """Ratios that are a little too large round ties away from zero, so those come first."""
    return abs(move[0]) + abs(move[1]), -move[0], -move[1]


def _outputs(attributes: ops.Binary, a: Quantization, b: Quantization, y: Quantization) -> tuple[Array, int, int]:
    """The output of every pair, [256, 256] from (-128, -128) on, and its limits."""
    values = np.arange(-128, 128).astype(np.int8)
    first = Tensor("a", (256, 1), DType.INT8, quantization=a)
    second = Tensor("b", (1, 256), DType.INT8, quantization=b)
    output = Tensor("y", (256, 256), DType.INT8, quantization=y)
    (results,) = binary(attributes, (values[:, None], values[None, :]), (first, second), (output,))
    low, high = clamp_limits(attributes.activation, output)
    return results.astype(np.int64), low, high


def _offset(outputs: Array, top: int, first: int, second: int, shift: int) -> int | None:
    """The r that gives ``outputs``, 0 to ``top``, of all pairs; None if there is none."""
    values = np.arange(-128, 128, dtype=np.int64)
    products = first * values[:, None] + second * values[None, :]
    inside_above, inside_below = outputs > 0, outputs < top
    least = ((outputs << shift) - products)[inside_above]
    most = (((outputs + 1) << shift) - 1 - products)[inside_below]
    lower = int(least.max()) if least.size else int(most.min()) if most.size else 0
    upper = int(most.min()) if most.size else lower
    offset = (lower + upper) // 2
    # Kernels may fold an output limit of -128 into the offset: that must fit, too.
    reach = max(int(products.max()) + offset, (128 << shift) - int(products.min()) - offset)
    return offset if lower <= upper and reach < 1 << 31 else None
