"""Bias correction: rounding the weights moves the mean of every channel; the bias moves it back (Nagel et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinyopt.errors import DataError
from tinyopt.graph import Array, Graph
from tinyopt.quantize.reconstruct import reconstruct
from tinyopt.quantize.rounding import round_half_away
from tinyopt.quantize.technique import Changed, Setting
from tinyopt.quantize.walk import Constants, Layer

_LARGEST = float(1 << 30)


@dataclass(frozen=True)
class BiasCorrection:
    """Biases that give every channel of every layer the mean that it has in the float graph.

    ``method``: ``empirical`` compares the means of both graphs, layer after layer, so that what earlier layers do to
    the mean is corrected too; ``analytic`` corrects the layer's own weights alone, by the mean of its float input
    (section 4.2 of the paper, with means that were seen instead of those of batch norms). ``samples``: at most that
    many calibration samples.
    """

    method: str = "empirical"
    samples: int = 256

    def __post_init__(self) -> None:
        if self.method not in ("empirical", "analytic"):
            raise DataError(f"bias correction is empirical or analytic, not '{self.method}'")

    def refine(self, quantized: Graph, setting: Setting) -> Changed:
        return reconstruct("bias correction", quantized, setting, self._corrected, samples=self.samples)

    def _corrected(self, layer: Layer) -> Constants | str:
        constants = layer.constants
        if constants.bias is None:
            return "it has no bias"
        if self.method == "empirical":
            wanted = _channel_means(layer.compute(layer.x, layer.weights, layer.bias))
            got = _channel_means(layer.compute(layer.x_quantized, constants.real_weights, constants.real_bias))
            error = got - wanted
        else:
            lost = constants.real_weights.astype(np.float64) - layer.weights
            error = _channel_means(layer.compute(layer.x, lost.astype(np.float32), None))
        moved = np.clip(constants.bias - round_half_away(error / constants.bias_scales), -_LARGEST, _LARGEST)
        return replace(constants, bias=moved.astype(np.int64))


def _channel_means(values: Array) -> Array:
    result: Array = values.reshape(-1, values.shape[-1]).astype(np.float64).mean(0)
    return result
