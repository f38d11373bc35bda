"""Image resizing: nearest neighbour of every element type, bilinear of integers.

Contract: docs/contract/resize.md, after TensorFlow Lite Micro. Which pixels an output reads depends on the sizes alone,
so the tables made here also go into the generated C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyopt.execute.integer.registry import integer
from tinyopt.graph import Array, Tensor, ops

FRACTION_BITS = 10
"""Fractional bits of a coordinate in integer bilinear resizing."""


@dataclass(frozen=True, eq=False)
class Taps:
    """For each output position of an axis: the two input positions, and the weight of the second.

    ``fraction`` is float32 in [0, 1], or an integer in [0, 1024]. It is 0 where both positions are the same.
    """

    lower: Array
    upper: Array
    fraction: Array


def nearest_positions(size: int, output: int, a: ops.Resize2d) -> Array:
    """Input position of each output position, int64 [output]: TFLite's rule, computed in float32 as there."""
    corners = a.align_corners and output > 1
    scale = np.float32(size - 1) / np.float32(output - 1) if corners else np.float32(size) / np.float32(output)
    offset = np.float32(0.5 if a.half_pixel_centers else 0.0)
    at = (np.arange(output, dtype=np.float32) + offset) * scale
    chosen = np.floor(at.astype(np.float64) + (0.5 if a.align_corners else 0.0))
    positions: Array = np.clip(chosen.astype(np.int64), 0, size - 1)
    return positions


def integer_taps(size: int, output: int, a: ops.Resize2d) -> Taps:
    """Bilinear taps with coordinates in units of 2**-10, as TFLite computes them for integer images.

    The rounded scale can step past the last pixel of a strongly enlarged axis; there the last pixel is read.
    """
    if a.align_corners and output > 1:
        scale = ((size - 1 << FRACTION_BITS) + (output - 1) // 2) // (output - 1)
    else:
        scale = ((size << FRACTION_BITS) + output // 2) // output
    at = np.arange(output, dtype=np.int64) * scale
    if a.half_pixel_centers:
        at += scale // 2 - (1 << FRACTION_BITS - 1)
    at = np.clip(at, 0, size - 1 << FRACTION_BITS)
    lower = at >> FRACTION_BITS
    return Taps(lower, np.minimum(lower + 1, size - 1), at & (1 << FRACTION_BITS) - 1)


def float_taps(size: int, output: int, a: ops.Resize2d) -> Taps:
    """Bilinear taps with float32 coordinates."""
    corners = a.align_corners and output > 1
    scale = np.float32(size - 1) / np.float32(output - 1) if corners else np.float32(size) / np.float32(output)
    at = np.arange(output, dtype=np.float32)
    at = (at + np.float32(0.5)) * scale - np.float32(0.5) if a.half_pixel_centers else at * scale
    at = np.clip(at, np.float32(0), np.float32(size - 1))
    lower = np.floor(at).astype(np.int64)
    return Taps(lower, np.minimum(lower + 1, size - 1), (at - lower).astype(np.float32))


@integer(ops.Resize2d)
def resize2d(a: ops.Resize2d, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    x = arrays[0]
    height, width = x.shape[1], x.shape[2]
    if a.method is ops.ResizeMethod.NEAREST:
        rows, columns = nearest_positions(height, a.size[0], a), nearest_positions(width, a.size[1], a)
        return [np.ascontiguousarray(x[:, rows][:, :, columns])]
    one = 1 << FRACTION_BITS
    rows_, columns_ = integer_taps(height, a.size[0], a), integer_taps(width, a.size[1], a)
    wide = x.astype(np.int64)
    down = rows_.fraction[:, None, None]
    tall = wide[:, rows_.lower] * (one - down) + wide[:, rows_.upper] * down
    right = columns_.fraction[:, None]
    total = tall[:, :, columns_.lower] * (one - right) + tall[:, :, columns_.upper] * right
    # Half is added away from zero and the quotient is truncated, as C divides.
    half = 1 << 2 * FRACTION_BITS - 1
    rounded = np.where(total > 0, total + half >> 2 * FRACTION_BITS, -(-total + half >> 2 * FRACTION_BITS))
    return [rounded.astype(x.dtype)]
