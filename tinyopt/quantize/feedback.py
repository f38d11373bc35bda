"""Weights rounded one after the other, each error made good by those that follow (OPTQ, Frantar et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tinyopt.errors import DataError
from tinyopt.graph import Array
from tinyopt.quantize.layers import output_axis
from tinyopt.quantize.patches import Positions, has_patches, rows_of_weights, weights_of_rows
from tinyopt.quantize.reconstruct import steps_of_weights
from tinyopt.quantize.rounding import round_half_away
from tinyopt.quantize.technique import Setting
from tinyopt.quantize.walk import Constants, Layer
from tinyopt.quantize.weights import UniformFormat, WeightFormat, nearest_value

Nearest = Callable[[Array, int], Array]
"""(weights [groups, outputs] of input k in units of their scale, k) → the nearest integers of the format."""


@dataclass(frozen=True)
class ErrorFeedback:
    """Rounds the weights of a layer input by input; what is lost is made good by the weights of the inputs that follow,
    as far as the inputs are correlated. Works with every format, needs no training, and takes seconds.

    The layer is first fitted to what reaches it in the quantized network, so that it makes good for the layers before
    it too. ``damping``, of the mean power of an input, keeps that fit near the float weights. At most ``positions``
    output positions of ``samples`` calibration samples are used.
    """

    damping: float = 0.01
    positions: int = 16384
    samples: int = 256
    seed: int = 0
    name: ClassVar[str] = "error feedback"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise DataError(f"a seed is a number from 0 upwards, not {self.seed}")
        if self.damping <= 0 or min(self.positions, self.samples) < 1:
            raise DataError("error feedback needs a damping above 0, and at least one position and sample")

    def improve(self, layer: Layer, setting: Setting) -> Constants | str:
        operator, constants = layer.operator, layer.constants
        form, per_channel = setting.weights[operator.name], setting.per_channel
        if not has_patches(operator):
            return f"it does not handle {operator.kind}"
        shape = layer.weights.shape
        scales = rows_of_weights(operator, np.broadcast_to(constants.weight_scales, shape))[:, :, :1]
        rows = rows_of_weights(operator, layer.weights).astype(np.float64) / scales
        places = Positions(operator, shape, layer.x.shape, self.positions, self.seed)
        x, x_quantized = (
            places.patches(values).transpose(1, 2, 0).astype(np.float64) for values in (layer.x, layer.x_quantized)
        )
        nearest = _nearest(layer, form, per_channel)
        integers = weights_of_rows(operator, self._feed_back(rows, x, x_quantized, nearest), shape)
        # Channels that were written as zero because they cannot move the output stay dead.
        axes = tuple(i for i in range(integers.ndim) if i != output_axis(operator))
        alive = np.abs(constants.weights).max(axes, keepdims=True) > 0
        return replace(constants, weights=(integers * alive).astype(np.int8))

    def _feed_back(self, rows: Array, x: Array, x_quantized: Array, nearest: Nearest) -> Array:
        """Integers [groups, outputs, k]; ``rows`` likewise, in units of their scales; ``x``: [groups, k, positions]."""
        count = x.shape[2]
        power = x_quantized @ x_quantized.transpose(0, 2, 1) / count
        across = x @ x_quantized.transpose(0, 2, 1) / count
        mean = np.maximum(np.trace(power, axis1=1, axis2=2) / power.shape[1], 1e-30)
        damped = power + self.damping * mean[:, None, None] * np.eye(power.shape[1])
        inverse = np.linalg.inv(damped)
        rows = rows + rows @ (across - power) @ inverse
        # Row k of the upper factor tells how an error at input k is spread over those behind it.
        factor = np.linalg.cholesky(inverse).transpose(0, 2, 1)
        result = np.empty_like(rows)
        for k in range(rows.shape[2]):
            result[:, :, k] = nearest(rows[:, :, k], k)
            lost = (rows[:, :, k] - result[:, :, k]) / factor[:, None, k, k]
            rows[:, :, k + 1 :] -= lost[:, :, None] * factor[:, None, k, k + 1 :]
        return result


def _nearest(layer: Layer, form: WeightFormat, per_channel: bool) -> Nearest:
    if isinstance(form, UniformFormat):
        steps = rows_of_weights(layer.operator, steps_of_weights(layer, form, per_channel))

        def to_steps(values: Array, k: int) -> Array:
            step = steps[:, :, k]
            result: Array = np.clip(round_half_away(values / step), form.low, form.high) * step
            return result

        return to_steps
    book = np.unique(layer.constants.weights).astype(np.float64)
    return lambda values, k: nearest_value(values, book)
