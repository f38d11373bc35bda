"""Numpy broadcasting of two operands as the loops of ``firmware/kernels/common/broadcast.h``."""

from __future__ import annotations

import math

import numpy as np

from tinyopt.graph import Shape
from tinyopt.plan.kernel import Constant, Value

MAX_OUTER_AXES = 5


def merged_axes(a: Shape, b: Shape) -> list[tuple[int, bool, bool]]:
    """The axes of the broadcast shape, outermost first, as (size, a varies, b varies).

    Axes of size 1 are dropped, and neighbours along which the same operands vary are merged: both arrays are
    contiguous, so two such axes are one longer one. Never empty.
    """
    rank = max(len(a), len(b))
    sides = [(1,) * (rank - len(shape)) + tuple(shape) for shape in (a, b)]
    axes: list[tuple[int, bool, bool]] = []
    for size_a, size_b in zip(*sides):
        size = max(size_a, size_b)
        if size == 1:
            continue
        varies = (size_a != 1, size_b != 1)
        if axes and axes[-1][1:] == varies:
            axes[-1] = (axes[-1][0] * size, *varies)
        else:
            axes.append((size, *varies))
    return axes or [(1, True, True)]


def fits(a: Shape, b: Shape) -> bool:
    """Whether the kernels' loops are deep enough for these shapes (always, up to six axes)."""
    return len(merged_axes(a, b)) <= MAX_OUTER_AXES + 1


def broadcast_fields(a: Shape, b: Shape) -> dict[str, Value]:
    """The nested struct ``tinyopt_broadcast``."""
    axes = merged_axes(a, b)
    columns, a_varies, b_varies = axes[-1]
    outer = []
    for index, (size, *varies) in enumerate(axes[:-1]):
        steps = [math.prod(axis[0] for axis in axes[index + 1 :] if axis[1 + side]) for side in range(2)]
        outer.append([size, *(step if moves else 0 for step, moves in zip(steps, varies))])
    return {
        "columns": columns,
        "a_step": int(a_varies),
        "b_step": int(b_varies),
        "axes": len(outer),
        "outer": Constant(np.array(outer, np.int32), weights=False) if outer else None,
    }
