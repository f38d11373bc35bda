"""Changes of number format: quantize, requantize, dequantize, cast. Contract: docs/contract/formats.md."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyopt.execute.integer.arithmetic import multiply_by_quantized_multiplier, saturate
from tinyopt.execute.integer.elementwise import quantization_of, rescale_multiplier, wrapped
from tinyopt.execute.integer.registry import integer
from tinyopt.execute.integer.unary import round_half_away
from tinyopt.graph import Array, DType, Tensor
from tinyopt.graph.ops import Cast, Dequantize, Quantize


@integer(Quantize)
def quantize(
    attributes: Quantize, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]
) -> list[Array]:
    x, y = ins[0], outs[0]
    target = quantization_of(y)
    if x.dtype is DType.FLOAT32:
        if target.axis is not None:
            return [target.quantize(arrays[0], y.dtype)]
        return [quantize_real(arrays[0], target.scale, target.zero_point, y.dtype)]
    source = quantization_of(x)
    centred = wrapped(arrays[0].astype(np.int64) - source.zero_point)
    rescaled = multiply_by_quantized_multiplier(centred, *rescale_multiplier(source, target))
    return [saturate(wrapped(rescaled + target.zero_point), y.dtype)]


def quantize_real(values: Array, scale: float, zero_point: int, dtype: DType) -> Array:
    """round(x / scale) + zero point, the division in float32, halves away from zero, saturated; NaN is real zero."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.nan_to_num(np.asarray(values, np.float32) / np.float32(scale), nan=0.0)
    rounded = round_half_away(np.clip(scaled, np.float32(-(2.0**31)), np.float32(2.0**31))).astype(np.float64)
    return saturate(rounded.astype(np.int64) + zero_point, dtype)


@integer(Dequantize)
def dequantize(
    attributes: Dequantize, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]
) -> list[Array]:
    return [quantization_of(ins[0]).dequantize(arrays[0])]


@integer(Cast)
def cast(attributes: Cast, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    """By value: to bool is ``!= 0``, integers wrap, floats truncate and saturate (NaN is 0)."""
    target = outs[0].dtype
    values = arrays[0]
    if target is DType.BOOL:
        return [values != 0]
    if values.dtype == np.float32 and target.is_integer:
        low, high = target.limits
        whole = np.trunc(np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=2.0**63, neginf=-(2.0**63)))
        # 2**63 is not an int64, so the limits are applied before and after the conversion.
        result = np.where(whole >= float(high), high, np.where(whole <= float(low), low, 0)).astype(np.int64)
        inside = (whole < float(high)) & (whole > float(low))
        result[inside] = whole[inside].astype(np.int64)
        return [result.astype(target.numpy)]
    return [values.astype(target.numpy)]
