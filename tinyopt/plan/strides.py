"""Merging of axes: the same data movement in fewer, longer runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StridedRead:
    """A contiguous output of ``size`` × ``run`` bytes, read from ``offset`` with ``stride`` bytes per axis."""

    run: int
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def is_copy(self) -> bool:
        """Whether the read is one contiguous piece that starts at the first byte."""
        return self.offset == 0 and not self.size


def byte_strides(shape: Sequence[int], itemsize: int) -> list[int]:
    """Strides of a contiguous array, in bytes."""
    return [math.prod(shape[axis + 1 :]) * itemsize for axis in range(len(shape))]


def merge_axes(size: Sequence[int], stride: Sequence[int], itemsize: int, offset: int = 0) -> StridedRead:
    """Drop axes of size 1, join neighbours that advance together, and take trailing contiguous axes into the run."""
    merged: list[tuple[int, int]] = []
    for count, step in zip(size, stride):
        if count == 1:
            continue
        if merged and merged[-1][1] == step * count:
            merged[-1] = (merged[-1][0] * count, step)
        else:
            merged.append((count, step))
    run = itemsize
    while merged and merged[-1][1] == run:
        run *= merged.pop()[0]
    return StridedRead(run, offset, tuple(m[0] for m in merged), tuple(m[1] for m in merged))


@dataclass(frozen=True)
class PaddedAxes:
    """Axes to pad, and the bytes that move together behind the last of them."""

    unit: int
    before: tuple[int, ...]
    size: tuple[int, ...]
    after: tuple[int, ...]


def merge_padding(
    shape: Sequence[int], before: Sequence[int], after: Sequence[int], itemsize: int, *, constant: bool
) -> PaddedAxes:
    """Join axes where the padding permits.

    Trailing axes without padding become the unit and neighbours without padding become one axis. With a ``constant``
    border an axis also swallows an unpadded axis behind it, since whole rows of the border are equal.
    """
    axes = [(b, n, a) for b, n, a in zip(before, shape, after) if n > 1 or b or a]
    unit = itemsize
    while axes and not (axes[-1][0] or axes[-1][2]):
        unit *= axes.pop()[1]
    merged: list[tuple[int, int, int]] = []
    for b, n, a in axes:
        padded = merged and (merged[-1][0] or merged[-1][2])
        if merged and not (b or a) and (constant or not padded):
            merged[-1] = (merged[-1][0] * n, merged[-1][1] * n, merged[-1][2] * n)
        else:
            merged.append((b, n, a))
    return PaddedAxes(unit, tuple(m[0] for m in merged), tuple(m[1] for m in merged), tuple(m[2] for m in merged))
