"""Fixed-point functions of TensorFlow Lite Micro: exponential, reciprocal, logarithm, logistic, tanh, inverse root.

A value in Qm has m integer bits and ``31 - m`` fractional bits in an int32. All functions take and return int64 arrays
that hold int32 values, and reproduce gemmlowp's polynomial and Newton-Raphson steps bit by bit.
"""

from __future__ import annotations

import numpy as np

from tinyopt.execute.integer.arithmetic import (
    INT32_MAX,
    INT32_MIN,
    quantize_multiplier,
    rounding_doubling_high_multiply,
    rounding_shift_right,
)
from tinyopt.graph import Array

_EXP_OF_POWERS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)
"""(k, exp(-2**k) in Q0): the barrel shifter of the exponential."""
_EXP_MINUS_EIGHTH, _ONE_THIRD = 1895147668, 715827883
_48_OVER_17, _MINUS_32_OVER_17 = 1515870810, -1010580540
"""In Q2: the first guess of the division, from Newton-Raphson with the least largest error on [1/2, 1]."""


def multiply(a: Array, b: Array | int) -> Array:
    """Product of two fixed-point numbers: the integer bits add."""
    return rounding_doubling_high_multiply(a, b)


def saturating_shift_left(values: Array, exponent: int) -> Array:
    """``values << exponent`` where it fits into int32, else the nearest limit (gemmlowp's thresholds)."""
    threshold = (1 << (31 - exponent)) - 1
    result = np.where(values > threshold, INT32_MAX, values << exponent)
    return np.asarray(np.where(values < -threshold, INT32_MIN, result), np.int64)


def half_sum(a: Array, b: int) -> Array:
    """(a + b) / 2, halves away from zero."""
    total = a + b
    return np.asarray(np.sign(total) * ((np.abs(total) + 1) >> 1), np.int64)


def exp_on_negative_values(a: Array, integer_bits: int = 5) -> Array:
    """exp(a) in Q0 for a ≤ 0 with ``integer_bits`` (4 or 5)."""
    a = np.asarray(a, np.int64)
    fraction = 31 - integer_bits
    quarter = 1 << (fraction - 2)
    modulo = (a & (quarter - 1)) - quarter
    x = (modulo << integer_bits) + (1 << 28)
    x2 = multiply(x, x)
    x3 = multiply(x2, x)
    x4 = multiply(x2, x2)
    tail = multiply(rounding_shift_right(x4, 2) + x3, _ONE_THIRD) + x2
    polynomial = x + rounding_shift_right(tail, 1)
    result = _EXP_MINUS_EIGHTH + multiply(polynomial, _EXP_MINUS_EIGHTH)
    remainder = modulo - a
    for exponent, factor in _EXP_OF_POWERS:
        if exponent < integer_bits:
            result = np.where(remainder & (1 << (fraction + exponent)), multiply(result, factor), result)
    return np.asarray(np.where(a == 0, INT32_MAX, result), np.int64)


def _divide(denominator: Array) -> Array:
    """1 / denominator in Q2, for denominators in [1/2, 1] in Q0."""
    x = _48_OVER_17 + multiply(denominator, _MINUS_32_OVER_17)
    for _ in range(3):
        error = (1 << 29) - multiply(denominator, x)
        x = x + saturating_shift_left(multiply(x, error), 2)
    return x


def one_over_one_plus_x(a: Array) -> Array:
    """1 / (1 + a) in Q0 for a in [0, 1] in Q0."""
    return saturating_shift_left(_divide(half_sum(np.asarray(a, np.int64), INT32_MAX)), 1)


def one_minus_x_over_one_plus_x(a: Array) -> Array:
    """(1 - a) / (1 + a) in Q0 for a in [0, 1] in Q0."""
    return saturating_shift_left(_divide(half_sum(np.asarray(a, np.int64), INT32_MAX)) - (1 << 29), 2)


def logistic(a: Array) -> Array:
    """1 / (1 + exp(-a)) in Q0 for a in Q4."""
    a = np.asarray(a, np.int64)
    positive = one_over_one_plus_x(exp_on_negative_values(-np.abs(a), 4))
    result = np.where(a > 0, positive, INT32_MAX - positive)
    return np.asarray(np.where(a == 0, 1 << 30, result), np.int64)


def tanh(a: Array) -> Array:
    """tanh(a) in Q0 for a in Q4."""
    a = np.asarray(a, np.int64)
    # -2|a| in Q5 has the same bits as -|a| in Q4.
    t = one_minus_x_over_one_plus_x(exp_on_negative_values(-np.abs(a)))
    result = np.where(a < 0, -t, t)
    return np.asarray(np.where(a == 0, 0, result), np.int64)


def leading_zeros(values: Array) -> Array:
    """Leading zero bits of positive int32 values."""
    _, exponent = np.frexp(values.astype(np.float64))
    return np.asarray(32 - exponent, np.int64)


def reciprocal(x: Array, integer_bits: int) -> tuple[Array, Array]:
    """1 / x for x > 0 with ``integer_bits``: (Q0 significand in [1/2, 1], bits of x above one)."""
    zeros = leading_zeros(x)
    return one_over_one_plus_x((x << zeros) - (1 << 31)), integer_bits - zeros


def log_of_at_least_one(x: Array, integer_bits: int = 12) -> Array:
    """log(x) in Q5 for x ≥ 1 with ``integer_bits`` (TFLite's rational approximation on [sqrt(1/2), 1])."""
    sqrt_half, fourth_root_half, log_2 = 1518500250, 1805811301, 1488522236
    quarter = rounding_shift_right(np.int64(1 << 29), 6)
    x = np.asarray(x, np.int64)
    zeros_a = leading_zeros(x)
    r_a = saturating_shift_left(multiply(x << (zeros_a - 1), sqrt_half), 1)
    power_a = ((integer_bits - zeros_a) << 25) + quarter
    z_b = multiply(x, sqrt_half)
    headroom_b = leading_zeros(z_b) - 1
    r_b = _saturating_shift_left_each(x, headroom_b)
    power_b = ((integer_bits - headroom_b) << 25) - quarter
    r = np.minimum(r_a, r_b)
    power = np.clip(np.maximum(power_a, power_b), INT32_MIN, INT32_MAX)
    p = half_sum(r, fourth_root_half)
    q = (r - fourth_root_half) * 2
    square = multiply(q, q)
    numerator = multiply(q, r) + multiply(multiply(q, square), 117049297)
    denominator = multiply(p, 1057819769 + q + multiply(square, 127690142)) + multiply(q, 638450708)
    quotient = multiply(rounding_shift_right(numerator, 6), one_over_one_plus_x(denominator))
    return saturating_shift_left(multiply(power, log_2) + quotient, 1)


def _saturating_shift_left_each(values: Array, exponents: Array) -> Array:
    shifted = values << exponents
    return np.asarray(np.where(shifted > INT32_MAX, INT32_MAX, shifted), np.int64)


def inverse_square_root(value: int) -> tuple[int, int]:
    """1 / sqrt(value) for an integer value ≥ 0 as (significand, left shift); 0 counts as 1."""
    if value <= 1:
        return INT32_MAX, 0
    shift = 11
    while value >= 1 << 29:
        value //= 4
        shift += 1
    pairs = (32 - value.bit_length() - 1) // 2 - 1
    shift -= pairs
    value <<= 2 * pairs
    half_input = rounding_shift_right(np.int64(value >> 1), 1)
    x = np.asarray(1 << 28, np.int64)
    for _ in range(5):
        x3 = saturating_shift_left(multiply(multiply(x, x), x), 6)
        x = saturating_shift_left(multiply(x, (1 << 28) + (1 << 27)) - multiply(half_input, x3), 3)
    significand = int(multiply(x, 1518500250))
    if shift < 0:
        significand <<= -shift
        shift = 0
    return significand, -shift


def scaled_exponent_multiplier(scale: float) -> tuple[int, int]:
    """Significand and left shift that bring ``scale * integer`` to Q5, capped so that steps of one saturate."""
    return quantize_multiplier(min(scale * (1 << 26), float((1 << 31) - 1)))


def input_radius(integer_bits: int, left_shift: int, total_bits: int = 31) -> int:
    """Largest integer input that stays inside the Q format after scaling (TFLite's CalculateInputRadius)."""
    return int(((1 << integer_bits) - 1) * float(1 << (total_bits - integer_bits)) / float(1 << left_shift))
