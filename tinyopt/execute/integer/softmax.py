"""Softmax and log-softmax over the last axis of int8 tensors. Contract: docs/contract/softmax.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tinyopt.errors import GraphError
from tinyopt.execute.integer import fixed_point
from tinyopt.execute.integer.arithmetic import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_doubling_high_multiply,
    rounding_shift_right,
    saturate,
)
from tinyopt.execute.integer.elementwise import Multiplier, quantization_of, wrapped
from tinyopt.execute.integer.registry import integer
from tinyopt.execute.integer.unary import round_half_away
from tinyopt.graph import Array, DType, Quantization, Tensor
from tinyopt.graph.ops import LogSoftmax, Softmax

SOFTMAX_OUTPUT = Quantization.per_tensor(1 / 256, -128)
LOG_SOFTMAX_OUTPUT = Quantization.per_tensor(1 / 16, 127)
_IDENTITY = (1 << 30, 1)
MAX_DEPTH = 4095
"""Elements of a row: their exponentials sum up in 12 integer bits."""
LOWEST_LOG = -32
"""The log-softmax of everything that leaves Q5."""


@dataclass(frozen=True)
class SoftmaxParameters:
    """``input``: from input steps to Q5; differences below ``least_difference`` count as zero probability.

    ``output_bits``: fractional bits of the result before ``output`` brings it to the output scale.
    """

    input: Multiplier
    least_difference: int
    output_bits: int
    output: Multiplier


def _parameters(beta: float, x: Tensor, y: Tensor, canonical: Quantization, bits: tuple[int, int]) -> SoftmaxParameters:
    """TFLM's own output format is reached in one rounding; any other through a finer one and a requantization."""
    if x.dtype is not DType.INT8:
        raise GraphError(f"softmax of {x.dtype.value} is not supported; quantize '{x.name}' to int8")
    if x.shape[-1] > MAX_DEPTH:
        raise GraphError(f"softmax over {x.shape[-1]} values is not supported; '{x.name}' may have {MAX_DEPTH}")
    multiplier, shift = fixed_point.scaled_exponent_multiplier(beta * x.scale)
    least = -fixed_point.input_radius(5, max(shift, 0))
    target = quantization_of(y)
    if target == canonical:
        return SoftmaxParameters((multiplier, shift), least, bits[0], _IDENTITY)
    output = quantize_multiplier(1.0 / (float(1 << bits[1]) * target.scale))
    return SoftmaxParameters((multiplier, shift), least, bits[1], output)


def softmax_parameters(attributes: Softmax, x: Tensor, y: Tensor) -> SoftmaxParameters:
    return _parameters(float(np.float32(attributes.beta)), x, y, SOFTMAX_OUTPUT, (8, 16))


def log_softmax_parameters(x: Tensor, y: Tensor) -> SoftmaxParameters:
    return _parameters(1.0, x, y, LOG_SOFTMAX_OUTPUT, (4, 12))


def exponential(p: SoftmaxParameters, difference: Array) -> Array:
    """exp of differences ≤ 0 in input steps, in Q0; zero below the least difference."""
    inside = difference >= p.least_difference
    q5 = multiply_by_quantized_multiplier(np.where(inside, difference, 0), *p.input)
    return np.asarray(np.where(inside, fixed_point.exp_on_negative_values(q5), 0), np.int64)


@integer(Softmax)
def softmax(attributes: Softmax, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    y = outs[0]
    if ins[0].dtype is DType.INT16:
        return [_softmax_s16(attributes, arrays[0].astype(np.int64), ins[0], y)]
    p = softmax_parameters(attributes, ins[0], y)
    values = arrays[0].astype(np.int64)
    exponentials = exponential(p, values - values.max(axis=-1, keepdims=True))
    total = rounding_shift_right(exponentials, 12).sum(axis=-1, keepdims=True)
    inverse, bits = fixed_point.reciprocal(total, 12)
    scaled = rounding_doubling_high_multiply(exponentials, inverse)
    probability = rounding_shift_right(scaled, bits + 31 - p.output_bits)
    result = multiply_by_quantized_multiplier(probability, *p.output)
    return [saturate(wrapped(result + y.zero_point), y.dtype)]


# ---- int16 ----------------------------------------------------------------------------------------------------

_SOFTMAX_S16_OUTPUT = Quantization.per_tensor(1 / 32768, 0)
MAX_DEPTH_S16 = 65535


def softmax_s16_multiplier(attributes: Softmax, x: Tensor, y: Tensor) -> Multiplier:
    """From input steps to steps of 10 / 65535, the range of the exponential's table."""
    if quantization_of(y) != _SOFTMAX_S16_OUTPUT or x.zero_point or x.shape[-1] > MAX_DEPTH_S16:
        raise GraphError(
            f"int16 softmax of '{x.name}' needs zero point 0, an output scale of 1/32768 and at most {MAX_DEPTH_S16} "
            "values in a row"
        )
    return quantize_multiplier(x.scale * float(np.float32(attributes.beta)) / (10.0 / 65535.0))


@cache
def softmax_s16_tables() -> tuple[Array, Array]:
    """exp over [-10, 0] and 1 / (1 + x) over [0, 1], int16 [513] in Q0.15, as TFLM samples them in float32."""
    exponentials = _sampled(np.float32(-10.0), lambda v: np.exp(v.astype(np.float64)).astype(np.float32))
    reciprocals = _sampled(np.float32(1.0), lambda v: (np.float32(1) / (np.float32(1) + v)).astype(np.float32))
    return exponentials, reciprocals


def _sampled(extent: np.float32, function: Callable[[Array], Array]) -> Array:
    """512 steps of an interval that begins (extent > 0) or ends (extent < 0) at zero, each sample moved by half of what
    linear interpolation misses in the middle of its step."""
    one = np.float32(1)
    scale = np.float32(np.abs(extent)) / np.float32(65535)
    low, high = (
        (np.float32(0), scale * np.float32(65535)) if extent > 0 else (scale * np.float32(-65535), np.float32(0))
    )
    step = (high - low) / np.float32(512)
    output_scale = np.float32(2) / np.float32(65535)
    to_q15 = np.float32(65536) / (output_scale * np.float32(32767) - output_scale * np.float32(-32768))
    index = np.arange(512, dtype=np.float32)
    values, middles, nexts = (
        function((low + x).astype(np.float32)) for x in (index * step, index * step + step / 2, (index + one) * step)
    )
    samples = round_half_away((values * to_q15).astype(np.float32))
    interpolated = round_half_away(((nexts * to_q15 + samples) / np.float32(2)).astype(np.float32))
    error = interpolated - round_half_away((middles * to_q15).astype(np.float32))
    table = samples - round_half_away((error / np.float32(2)).astype(np.float32))
    last = round_half_away((function(np.array([high], np.float32)) * to_q15).astype(np.float32))
    result: Array = np.clip(np.concatenate([table, last]), -32768, 32767).astype(np.int16)
    result.flags.writeable = False
    return result


def _look_up(table: Array, values: Array) -> Array:
    """Linear interpolation in a table of 513 values over the range of int16."""
    clamped = np.clip(values, -32768, 32767)
    index = 256 + (clamped >> 7)
    base, following = table[index].astype(np.int64), table[index + 1].astype(np.int64)
    return np.asarray(base + (((following - base) * (clamped & 0x7F) + 64) >> 7), np.int64)


def _softmax_s16(attributes: Softmax, values: Array, x: Tensor, y: Tensor) -> Array:
    exponentials, reciprocals = softmax_s16_tables()
    difference = values - values.max(axis=-1, keepdims=True)
    scaled = multiply_by_quantized_multiplier(difference, *softmax_s16_multiplier(attributes, x, y))
    e = _look_up(exponentials, wrapped(scaled + 32767))
    total = e.sum(axis=-1, keepdims=True)
    zeros = fixed_point.leading_zeros(total)
    fraction = (((total << (zeros - 1)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16)
    inverse = _look_up(reciprocals, fraction)
    shift = 31 - zeros
    return saturate((e * inverse + (np.int64(1) << (shift - 1))) >> shift, y.dtype, 0, 32767)


def log_reverse_multiplier(p: SoftmaxParameters) -> Multiplier:
    """From Q5 back to input steps, to find the differences whose logarithm would leave Q5."""
    multiplier, shift = p.input
    return quantize_multiplier(float(1 << (31 - shift)) / multiplier)


@integer(LogSoftmax)
def log_softmax(
    attributes: LogSoftmax, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]
) -> list[Array]:
    y = outs[0]
    p = log_softmax_parameters(ins[0], y)
    values = arrays[0].astype(np.int64)
    difference = values - values.max(axis=-1, keepdims=True)
    total = rounding_shift_right(exponential(p, difference), 12).sum(axis=-1, keepdims=True)
    log_total = fixed_point.log_of_at_least_one(total)
    least = multiply_by_quantized_multiplier(log_total - (1 << 31), *log_reverse_multiplier(p))
    inside = difference > np.maximum(p.least_difference - 1, least)
    q5 = multiply_by_quantized_multiplier(np.where(inside, difference, 0), *p.input)
    logarithm = rounding_shift_right(q5 - log_total, 26 - p.output_bits)
    lowest = LOWEST_LOG << p.output_bits
    result = multiply_by_quantized_multiplier(np.where(inside, logarithm, lowest), *p.output)
    return [saturate(wrapped(result + y.zero_point), y.dtype)]
