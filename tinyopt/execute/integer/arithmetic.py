"""The integer arithmetic that all quantized operators share.

Contract: TensorFlow Lite Micro's fixed-point multiplication with *double* rounding (gemmlowp): a real multiplier is a
Q31 significand and a power of two; the product is a rounding doubling high multiply (ties up) followed by a rounding
shift right (ties away from zero).
"""

from __future__ import annotations

import math

import numpy as np

from tinyopt.graph import Array, DType, Tensor
from tinyopt.graph.ops import Clamp

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def quantize_multiplier(real: float) -> tuple[int, int]:
    """A non-negative real multiplier as (Q31 significand, left shift): ``real ≈ significand * 2**(shift - 31)``.

    ``real`` must be computed in double precision from float32 scales, as TFLite does. Values below 2**-31 become 0.
    """
    if real == 0.0:
        return 0, 0
    significand, shift = math.frexp(real)
    fixed = math.floor(significand * (1 << 31) + 0.5)
    if fixed == 1 << 31:
        fixed //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        return INT32_MAX, 30
    return int(fixed), shift


def rounding_doubling_high_multiply(values: Array, multiplier: Array | int) -> Array:
    """``values * multiplier / 2**31`` rounded to nearest, ties up; ``multiplier`` ≥ 0. int64 in, int64 out.

    Equal to gemmlowp's SaturatingRoundingDoublingHighMul for every non-negative multiplier.
    """
    result: Array = (values.astype(np.int64) * np.asarray(multiplier, np.int64) + (1 << 30)) >> 31
    return result


def rounding_shift_right(values: Array, exponent: Array | int) -> Array:
    """Divide by ``2**exponent`` (exponent ≥ 0), ties away from zero. int64 in, int64 out."""
    e = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << e) - 1
    remainder = values & mask
    threshold = (mask >> 1) + (values < 0)
    result: Array = (values >> e) + (remainder > threshold)
    return result


def multiply_by_quantized_multiplier(values: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """TFLM's MultiplyByQuantizedMultiplier for int32 values (double rounding).

    ``multiplier`` and ``shift`` broadcast against ``values`` (per channel on the last axis). The left shift wraps to
    int32 as in C. Returns int64 values in the int32 range.
    """
    s = np.asarray(shift, np.int64)
    left, right = np.maximum(s, 0), np.maximum(-s, 0)
    shifted = (values.astype(np.int64) << left).astype(np.int32).astype(np.int64)
    return rounding_shift_right(rounding_doubling_high_multiply(shifted, multiplier), right)


def multiply_wide(values: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """TFLM's MultiplyByQuantizedMultiplier for int64 values: the multiplier is rounded to 15 bits first.

    The rule for int16 activations with a 64-bit bias; ``shift`` ≤ 7 and |values| < 2**47. The result wraps to int32
    as in C. Returns int64 values in the int32 range.
    """
    m, s = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    reduced = np.where(m < 0x7FFF0000, (m + (1 << 15)) >> 16, 0x7FFF)
    total = 15 - s
    product = values.astype(np.int64) * reduced + (np.int64(1) << (total - 1))
    result: Array = (product >> total).astype(np.int32).astype(np.int64)
    return result


def clamp_limits(clamp: Clamp, tensor: Tensor) -> tuple[int, int]:
    """The integer limits of a fused activation on a per-tensor quantized output: the dtype's range, narrowed."""
    low, high = tensor.dtype.limits
    scale, zero = np.float32(tensor.scale), tensor.zero_point

    def quantize(real: float) -> int:
        scaled = np.float32(real) / scale
        return zero + int(math.floor(float(scaled) + 0.5) if scaled >= 0 else math.ceil(float(scaled) - 0.5))

    if clamp.low is not None:
        low = max(low, quantize(clamp.low))
    if clamp.high is not None:
        high = min(high, quantize(clamp.high))
    return low, high


def saturate(values: Array, dtype: DType, low: int | None = None, high: int | None = None) -> Array:
    """Clip to the dtype's range (or to the given limits) and convert."""
    limits = dtype.limits
    result: Array = np.clip(values, limits[0] if low is None else low, limits[1] if high is None else high).astype(
        dtype.numpy
    )
    return result
