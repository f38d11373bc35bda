"""What the channels-first importers pass from operator to operator: tensors of the source model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyopt.errors import ModelError
from tinyopt.graph import Array, Quantization, Shape

MAXIMUM_ELEMENTS = 1 << 28
"""Largest tensor that an importer makes; a shape beyond it comes from a damaged file."""


class CannotLower(Exception):
    """Why one operator of the source cannot be expressed; importers collect these into one report."""


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the source model.

    Either a constant (``data``, in the model's axis order) or an activation: ``tensor`` of the graph, whose stored
    axes ``factors[i]`` (major first) make up axis ``i`` of ``shape``. A constant with ``quantization`` holds integers
    that stand for real numbers.
    """

    shape: Shape
    tensor: str = ""
    factors: tuple[tuple[int, ...], ...] = ()
    data: Array | None = None
    quantization: Quantization | None = None
    name: str = ""

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def real(self) -> Array:
        """The numbers of a constant; raises CannotLower for an activation."""
        if self.data is None:
            raise CannotLower("needs constant operands here, but one is computed from the model's input")
        return self.data if self.quantization is None else self.quantization.dequantize(self.data)

    def atoms(self, axes: Sequence[int]) -> list[int]:
        """Stored axes that make up these axes, major first."""
        return [atom for axis in axes for atom in self.factors[axis]]


def normal_axis(axis: int, rank: int) -> int:
    """A non-negative axis; raises ModelError when it is out of range."""
    if not -rank <= axis < rank:
        raise ModelError(f"axis {axis} is out of range for {rank} axes")
    return axis % rank


def constant(data: Array, name: str = "", quantization: Quantization | None = None) -> Value:
    data = np.asarray(data)
    if data.dtype == np.float64:
        data = data.astype(np.float32)
    return Value(tuple(data.shape), data=data, quantization=quantization, name=name)
