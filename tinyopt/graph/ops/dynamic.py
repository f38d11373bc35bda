"""Layers whose input range is taken at run time."""

from __future__ import annotations

from dataclasses import dataclass

from tinyopt.graph.ops.base import Attributes
from tinyopt.graph.ops.layers import Conv2d, DepthwiseConv2d, FullyConnected

_CONV2D, _DEPTHWISECONV2D, _FULLYCONNECTED = Conv2d(), DepthwiseConv2d(), FullyConnected()
"""The layers with all their defaults."""


class DynamicRange(Attributes):
    """A layer of float32 tensors whose products are integers: its weights are int8 (zero point 0, one scale or one per
    output channel), the range of its input is taken at run time and the input rounded to int8 with it; sums become
    float32 again, where the float32 bias is added. ``layer`` says which layer; its inputs and shapes are these.

    ``symmetric``: the range is that of the largest magnitude, with zero point 0; else it is from the smallest to the
    largest value, zero among them. An image of a convolution has a range of its own, and so has a row (all but the last
    axis) of a fully connected layer. TensorFlow Lite's hybrid operators; docs/contract/dynamic.md.
    """

    inputs = (2, 3)
    layer: Conv2d | DepthwiseConv2d | FullyConnected
    symmetric: bool

    @staticmethod
    def of(layer: Conv2d | DepthwiseConv2d | FullyConnected, symmetric: bool) -> DynamicRange:
        """The same layer with a run-time range."""
        if isinstance(layer, Conv2d):
            return DynamicConv2d(layer, symmetric)
        if isinstance(layer, DepthwiseConv2d):
            return DynamicDepthwiseConv2d(layer, symmetric)
        return DynamicFullyConnected(layer, symmetric)

    def describe(self) -> str:
        return " ".join(part for part in (self.layer.describe(), "symmetric" if self.symmetric else "") if part)


@dataclass(frozen=True)
class DynamicConv2d(DynamicRange):
    """``Conv2d`` with a run-time range."""

    layer: Conv2d = _CONV2D
    symmetric: bool = False


@dataclass(frozen=True)
class DynamicDepthwiseConv2d(DynamicRange):
    """``DepthwiseConv2d`` with a run-time range."""

    layer: DepthwiseConv2d = _DEPTHWISECONV2D
    symmetric: bool = False


@dataclass(frozen=True)
class DynamicFullyConnected(DynamicRange):
    """``FullyConnected`` with a run-time range for every row."""

    layer: FullyConnected = _FULLYCONNECTED
    symmetric: bool = False
