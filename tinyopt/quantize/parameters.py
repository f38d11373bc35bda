"""Scales, zero points and integer constants (Jacob et al. 2018; TensorFlow Lite's 8-bit quantization specification)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyopt.graph import Array, DType, Quantization
from tinyopt.quantize.rounding import round_half_away
from tinyopt.quantize.weights import SMALLEST_SCALE, Int8, WeightFormat

_ACCUMULATOR_LIMIT = float(1 << 30)
"""Sums of products, and biases, stay below this; together they fit 32 bits."""
_WIDE_LIMIT = float(1 << 46)
"""The same for the 64-bit sums of int16 activations, of which the kernels use 48 bits."""
NEGLIGIBLE = 1e-3
"""Of an output step: the least that the weights of a channel must be able to change."""


def activation_quantization(
    low: float, high: float, *, least_scale: float = 0.0, symmetric: bool = False, dtype: DType = DType.INT8
) -> Quantization:
    """Parameters that cover [low, high] and represent zero exactly.

    A range of zero width gets scale 1. ``least_scale``: the scale is at least this. ``symmetric``: zero point 0, as
    int16 always has it.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if high == low:
        return Quantization.per_tensor(max(1.0, least_scale), 0)
    if symmetric or dtype is DType.INT16:
        return Quantization.per_tensor(max(max(-low, high) / dtype.limits[1], least_scale, SMALLEST_SCALE), 0)
    scale = float(np.float32(max((high - low) / 255.0, least_scale, SMALLEST_SCALE)))
    zero_point = round(-128 - low / scale)
    return Quantization.per_tensor(scale, min(max(zero_point, -128), 127))


_INT8 = Int8()


@dataclass(frozen=True, eq=False)
class LayerConstants:
    """``weights``: int8, symmetric. ``bias``: int32 (int64 with int16 activations) at input scale * weight scale, or
    None."""

    weights: Array
    weight_quantization: Quantization
    bias: Array | None
    bias_quantization: Quantization | None


def weight_rows(weights: Array, axis: int, *, per_channel: bool = True) -> tuple[Array, Callable[[Array], Array]]:
    """Weights as float64 rows, one per output channel (one of all: ``per_channel=False``), and the way back."""
    moved = np.moveaxis(weights.astype(np.float64), axis, 0)

    def restore(rows: Array) -> Array:
        return np.ascontiguousarray(np.moveaxis(rows.reshape(moved.shape), 0, axis))

    return moved.reshape(len(moved) if per_channel else 1, -1), restore


def layer_constants(
    weights: Array,
    bias: Array | None,
    axis: int,
    x: Quantization,
    *,
    activations: DType = DType.INT8,
    weight_format: WeightFormat = _INT8,
    per_channel: bool = True,
    output_scale: float = 0.0,
) -> LayerConstants:
    """The integer weights and bias of a layer whose output channels are the axis ``axis`` of its weights.

    ``x``: the quantization of the layer's input, of type ``activations``. ``weight_format``: the values that the
    weights may take.
    A scale is raised where the bias or the sum of all products would otherwise leave 32 bits. Channels whose weights
    cannot move the output by a thousandth of ``output_scale`` get weights of zero, as trained networks have them that
    were regularised to death; channels without any weight take the largest scale of the others, so that their bias
    keeps its precision.
    """
    input_scale = x.scale
    rows, restore = weight_rows(weights, axis)
    lowest, highest = activations.limits
    reach = input_scale * max(highest - x.zero_point, x.zero_point - lowest)
    rows = np.where(np.abs(rows).sum(1, keepdims=True) * reach < output_scale * NEGLIGIBLE, 0.0, rows)
    offsets = np.zeros(len(rows)) if bias is None else np.abs(bias.astype(np.float64))
    if activations is DType.INT8:
        least = np.maximum(offsets / input_scale, np.abs(rows).sum(1) * 255.0) / _ACCUMULATOR_LIMIT
    else:
        least = offsets / input_scale / _WIDE_LIMIT
    if per_channel:
        integers, scales = weight_format.integers(rows, least)
        quantization = Quantization.per_channel(scales, axis)
    else:
        integers, scales = weight_format.integers(rows.reshape(1, -1), least.max(keepdims=True))
        quantization = Quantization.per_tensor(float(scales[0]))
    used = np.asarray(quantization.scales, np.float64)
    restored = restore(integers)
    if bias is None:
        return LayerConstants(restored, quantization, None, None)
    bias_scales = input_scale * used
    wide = np.int32 if activations is DType.INT8 else np.int64
    steps = round_half_away(bias.astype(np.float64) / bias_scales).astype(wide)
    bias_quantization = (
        Quantization.per_channel(bias_scales, 0) if per_channel else Quantization.per_tensor(float(bias_scales[0]))
    )
    return LayerConstants(restored, quantization, steps, bias_quantization)


def tensor_constant(values: Array, dtype: DType = DType.INT8) -> tuple[Array, Quantization]:
    """An integer constant with a range of its own."""
    quantization = activation_quantization(float(values.min()), float(values.max()), dtype=dtype)
    return quantization.quantize(values, dtype), quantization
