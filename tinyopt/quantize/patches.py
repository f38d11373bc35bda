"""Layers as matrix products: the patches of the input that the outputs of a layer read.

A layer of g groups is, for every output position, g products of a matrix [outputs / g, k] with a vector [k]. A dense
layer has one group, a depthwise convolution one per input channel.
"""

from __future__ import annotations

import numpy as np

from tinyopt.graph import Array, Operator, ops


def has_patches(operator: Operator) -> bool:
    """Whether a layer is handled here: transposed convolutions are not."""
    return isinstance(operator.attributes, (ops.Conv2d, ops.DepthwiseConv2d, ops.FullyConnected))


def rows_of_weights(operator: Operator, weights: Array) -> Array:
    """Weights in graph layout → [groups, outputs / groups, k]; the first two axes together are the output channels."""
    a = operator.attributes
    if isinstance(a, ops.DepthwiseConv2d):
        taps = np.moveaxis(weights[0], 2, 0).reshape(weights.shape[3], -1)
        result: Array = taps.reshape(-1, a.multiplier, taps.shape[1])
        return result
    groups = a.groups if isinstance(a, ops.Conv2d) else 1
    return weights.reshape(groups, weights.shape[0] // groups, -1)


def weights_of_rows(operator: Operator, rows: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of ``rows_of_weights``; ``shape``: the weights'."""
    if isinstance(operator.attributes, ops.DepthwiseConv2d):
        taps = rows.reshape(shape[3], shape[1], shape[2])
        return np.ascontiguousarray(np.moveaxis(taps, 0, 2)[None])
    return np.ascontiguousarray(rows.reshape(shape))


class Positions:
    """Output positions of a layer, drawn at random: at most ``limit``, the same for both graphs."""

    def __init__(self, operator: Operator, kernel: tuple[int, ...], x_shape: tuple[int, ...], limit: int, seed: int):
        self._attributes = operator.attributes
        self._kernel = kernel
        a = self._attributes
        if isinstance(a, (ops.Conv2d, ops.DepthwiseConv2d)):
            samples, height, width = x_shape[:3]
            extent = [(kernel[i] - 1) * a.dilation[i - 1] + 1 for i in (1, 2)]
            self._out = (
                (height + a.padding.top + a.padding.bottom - extent[0]) // a.stride[0] + 1,
                (width + a.padding.left + a.padding.right - extent[1]) // a.stride[1] + 1,
            )
            count = samples * self._out[0] * self._out[1]
        else:
            count = int(np.prod(x_shape)) // kernel[-1]
        order = np.random.default_rng(seed).permutation(count)
        self.index = np.sort(order[: max(1, limit)])

    def patches(self, x: Array) -> Array:
        """The input [samples, …] → float32 [positions, groups, k]."""
        a = self._attributes
        if not isinstance(a, (ops.Conv2d, ops.DepthwiseConv2d)):
            return x.reshape(-1, 1, self._kernel[-1])[self.index]
        p = a.padding
        padded = np.pad(x, ((0, 0), (p.top, max(p.bottom, 0)), (p.left, max(p.right, 0)), (0, 0)))
        sample, place = np.divmod(self.index, self._out[0] * self._out[1])
        row, column = np.divmod(place, self._out[1])
        taps = [
            padded[sample, row * a.stride[0] + i * a.dilation[0], column * a.stride[1] + j * a.dilation[1]]
            for i in range(self._kernel[1])
            for j in range(self._kernel[2])
        ]
        stacked = np.stack(taps, axis=1)  # [positions, taps, channels]
        if isinstance(a, ops.DepthwiseConv2d):
            return np.ascontiguousarray(stacked.transpose(0, 2, 1))
        positions, count, channels = stacked.shape
        grouped = stacked.reshape(positions, count, a.groups, channels // a.groups).transpose(0, 2, 1, 3)
        return np.ascontiguousarray(grouped.reshape(positions, a.groups, -1))
