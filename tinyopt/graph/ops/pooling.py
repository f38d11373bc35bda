"""Pooling, reductions, softmax."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tinyopt.graph.ops.base import NO_PADDING, NONE, Attributes, Clamp, Padding


@dataclass(frozen=True)
class MaxPool2d(Attributes):
    """x [N,H,W,C] → [N,OH,OW,C]; padding never wins."""

    inputs = (1, 1)
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = NO_PADDING
    activation: Clamp = NONE


@dataclass(frozen=True)
class AveragePool2d(Attributes):
    """x [N,H,W,C] → [N,OH,OW,C]; the mean of the elements inside the image (padding is not counted)."""

    inputs = (1, 1)
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = NO_PADDING
    activation: Clamp = NONE


class ReduceKind(str, Enum):
    MEAN = "mean"
    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True)
class Reduce(Attributes):
    """x → reduced over ``axes`` (non-negative, ascending); the axes stay as 1 when ``keep_dims``."""

    inputs = (1, 1)
    op: ReduceKind
    axes: tuple[int, ...]
    keep_dims: bool = False

    @property
    def kind(self) -> str:
        return "Reduce" + self.op.value.capitalize()


@dataclass(frozen=True)
class Softmax(Attributes):
    """x → softmax(beta * x) over the last axis."""

    inputs = (1, 1)
    beta: float = 1.0


@dataclass(frozen=True)
class LogSoftmax(Attributes):
    """x → log(softmax(x)) over the last axis."""

    inputs = (1, 1)


@dataclass(frozen=True)
class ArgMax(Attributes):
    """x → index of the first largest element along ``axis``: int32 (or int64, as the output tensor says)."""

    inputs = (1, 1)
    axis: int
    keep_dims: bool = False
    dtype: str = "int32"
