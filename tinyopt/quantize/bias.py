"""Bias correction: rounding the weights moves the mean of every channel; the bias moves it back (Nagel et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tinyopt.errors import DataError
from tinyopt.graph import Array
from tinyopt.graph.ops import NONE, Clamp
from tinyopt.quantize.layers import LAYERS
from tinyopt.quantize.rounding import round_half_away
from tinyopt.quantize.technique import Setting
from tinyopt.quantize.walk import Constants, Layer

_LARGEST = float(1 << 30)
_POSITIONS = 16384


@dataclass(frozen=True)
class BiasCorrection:
    """Biases that give every channel of every layer the mean that it has in the float graph.

    ``method``: ``empirical`` compares the means of both graphs behind the activation, layer after layer, so that what
    earlier layers do to the mean is corrected too; ``analytic`` corrects the layer's own weights alone, by the mean of
    its float input (section 4.2 of the paper, with means that were seen instead of those of batch norms).
    ``samples``: at most that many calibration samples.
    """

    method: str = "empirical"
    samples: int = 256
    name: ClassVar[str] = "bias correction"

    def __post_init__(self) -> None:
        if self.method not in ("empirical", "analytic"):
            raise DataError(f"bias correction is empirical or analytic, not '{self.method}'")

    def improve(self, layer: Layer, setting: Setting) -> Constants | str:
        constants = layer.constants
        if constants.bias is None:
            return "it has no bias"
        if self.method == "empirical":
            wanted = _rows(layer.compute(layer.x, layer.weights, layer.bias))
            got = _rows(layer.compute(layer.x_quantized, constants.real_weights, constants.real_bias))
            assert isinstance(layer.operator.attributes, LAYERS)
            error = _shift(wanted, got, layer.operator.attributes.activation)
        else:
            lost = constants.real_weights.astype(np.float64) - layer.weights
            error = _rows(layer.compute(layer.x, lost.astype(np.float32), None)).mean(0, dtype=np.float64)
        moved = np.clip(constants.bias - round_half_away(error / constants.bias_scales), -_LARGEST, _LARGEST)
        return replace(constants, bias=moved.astype(np.int64))


def _rows(values: Array) -> Array:
    """Results as [positions, channels], at most ``_POSITIONS`` of them, evenly spread."""
    rows = values.reshape(-1, values.shape[-1])
    result: Array = rows[:: -(-len(rows) // _POSITIONS)]
    return result


def _shift(wanted: Array, got: Array, clamp: Clamp) -> Array:
    """What must be taken from each channel of ``got`` so that behind the activation its mean is that of ``wanted``.

    A ReLU cuts off whatever lies far below zero, and with it errors there that would spoil a mean in front of it.
    """
    plain = got.mean(0, dtype=np.float64) - wanted.mean(0, dtype=np.float64)
    if clamp == NONE:
        return np.asarray(plain)
    target = np.clip(wanted, clamp.low, clamp.high).mean(0, dtype=np.float64)
    reach = float(max(np.abs(wanted).max(), np.abs(got).max())) * 2.0
    low, high = np.full(len(plain), -reach), np.full(len(plain), reach)
    for _ in range(24):
        middle = 0.5 * (low + high)
        mean = np.clip(got - middle.astype(np.float32), clamp.low, clamp.high).mean(0, dtype=np.float64)
        low, high = np.where(mean > target, middle, low), np.where(mean > target, high, middle)
    span = np.clip(wanted, clamp.low, clamp.high)
    moves = span.max(0) > span.min(0)  # a channel that is always cut off tells nothing about its mean
    result: Array = np.where(moves, high, plain)
    return result
