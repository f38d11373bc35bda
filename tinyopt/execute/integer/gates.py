"""Logistic and tanh of int16 values, the gates of quantized recurrent layers.

Contract: TensorFlow Lite's int16 kernels: a table of logistic(i / 24) with 16 fractional bits, interpolated linearly.
tanh(x) = 2 logistic(2x) - 1 uses the same table. Results are Q0.15.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from tinyopt.graph import Array

GATE_EXPONENT = -12
"""The sum of a gate is int16 with scale 2**-12: the range [-8, 8)."""

_ONE_ABOVE = (
    *(4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46),
    *(49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255),
)
"""Where TFLite's table is one above the rounded value. Bit equality needs these too."""


@cache
def logistic_table() -> Array:
    """logistic(i / 24) * 65536, uint16 [256]."""
    table = np.array([math.floor(65536 / (1 + math.exp(-i / 24)) + 0.5) for i in range(256)], np.int64)
    table[list(_ONE_ABOVE)] += 1
    result = table.astype(np.uint16)
    result.flags.writeable = False
    return result


def _interpolate(magnitude: Array, bits: int, saturated: int) -> Array:
    """The table at ``magnitude / 2**bits``, scaled by 2**bits; ``saturated`` from its last entry on."""
    table = logistic_table().astype(np.int64)
    index = magnitude >> bits
    inside = np.minimum(index, 254)
    low, high = table[inside], table[inside + 1]
    return np.where(index >= 255, saturated, (low << bits) + (magnitude & (1 << bits) - 1) * (high - low))


def logistic_s16(values: Array) -> Array:
    """int values with scale 2**-12 (int16 range) → Q0.15, int64 [same shape] in [0, 32767]."""
    return logistic_of_scaled(values.astype(np.int64) * 3)


def logistic_of_scaled(scaled: Array) -> Array:
    """The same of values with scale 1 / (3 * 2**12), the table's own."""
    result = _interpolate(np.abs(scaled), 9, 0x7FFF << 10)
    return np.where(scaled >= 0, result + (1 << 9), (1 << 25) - result + (1 << 9) - 1) >> 10


def tanh_s16(values: Array, exponent: int) -> Array:
    """int values with scale ``2**exponent`` (int16 range) → Q0.15, int64 [same shape] in [-32768, 32767]."""
    shift = exponent - GATE_EXPONENT
    wide = values.astype(np.int64) * 3
    scaled = wide << shift if shift >= 0 else wide + (1 << -shift - 1) >> -shift
    return tanh_of_scaled(scaled)


def tanh_of_scaled(scaled: Array) -> Array:
    """The same of values with scale 1 / (3 * 2**12), the table's own."""
    result = _interpolate(np.abs(scaled), 8, 0xFFFF << 8)
    half, rounding = 1 << 23, 1 << 7
    return np.where(scaled >= 0, result - half + rounding, -result + half + rounding - 1) >> 8
