"""Elementwise arithmetic on quantized tensors: add, subtract, multiply, divide, minimum, maximum, clip, PReLU.

Contract: docs/contract/elementwise.md. The ``…_parameters`` functions derive the fixed-point numbers from scales; the
kernel catalogue packs the same numbers into the C parameter structs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinyopt.errors import GraphError
from tinyopt.execute.integer import fixed_point
from tinyopt.execute.integer.arithmetic import (
    clamp_limits,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_doubling_high_multiply,
    rounding_shift_right,
    saturate,
)
from tinyopt.execute.integer.registry import integer
from tinyopt.graph import Array, DType, Quantization, Tensor
from tinyopt.graph.ops import Binary, BinaryKind, Clamp, Clip, Prelu

Multiplier = tuple[int, int]
"""Q31 significand and left shift."""


def wrapped(values: Array) -> Array:
    """The low 32 bits, as C's wrapping addition leaves them; int64."""
    return values.astype(np.int64).astype(np.int32).astype(np.int64)


def rescale_multiplier(x: Quantization, y: Quantization) -> Multiplier:
    """From the scale of ``x`` to that of ``y``, the ratio in double precision (TFLM's QUANTIZE and MEAN)."""
    return quantize_multiplier(x.scale / y.scale)


def quantization_of(tensor: Tensor) -> Quantization:
    if tensor.quantization is None:
        raise GraphError(f"tensor '{tensor.name}' ({tensor.dtype.value}) must be quantized")
    return tensor.quantization


# ---- add and subtract -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AddParameters:
    """Both inputs are shifted left, scaled to twice the larger input scale, summed, and scaled to the output."""

    left_shift: int
    a: Multiplier
    b: Multiplier
    output: Multiplier


def add_parameters(op: BinaryKind, a: Tensor, b: Tensor, y: Tensor) -> AddParameters:
    """TFLM's scheme, for sums and differences alike; ratios in double precision."""
    left_shift = 15 if y.dtype is DType.INT16 else 20
    twice = 2.0 * max(a.scale, b.scale)
    ratios = (a.scale / twice, b.scale / twice, twice / ((1 << left_shift) * y.scale))
    first, second, output = (quantize_multiplier(ratio) for ratio in ratios)
    return AddParameters(left_shift, first, second, output)


def _add(attributes: Binary, a: Array, b: Array, ins: Sequence[Tensor], y: Tensor) -> Array:
    p = add_parameters(attributes.op, ins[0], ins[1], y)
    scaled_a = multiply_by_quantized_multiplier((a - ins[0].zero_point) << p.left_shift, *p.a)
    scaled_b = multiply_by_quantized_multiplier((b - ins[1].zero_point) << p.left_shift, *p.b)
    total = scaled_a + scaled_b if attributes.op is BinaryKind.ADD else scaled_a - scaled_b
    return multiply_by_quantized_multiplier(total, *p.output)


# ---- multiply and divide --------------------------------------------------------------------------------------


def multiply_parameters(a: Tensor, b: Tensor, y: Tensor) -> Multiplier:
    return quantize_multiplier(a.scale * b.scale / y.scale)


def divide_parameters(a: Tensor, b: Tensor, y: Tensor) -> Multiplier:
    return quantize_multiplier(a.scale / (b.scale * y.scale))


def _multiply(attributes: Binary, a: Array, b: Array, ins: Sequence[Tensor], y: Tensor) -> Array:
    product = (a - ins[0].zero_point) * (b - ins[1].zero_point)
    return multiply_by_quantized_multiplier(product, *multiply_parameters(ins[0], ins[1], y))


def _divide(attributes: Binary, a: Array, b: Array, ins: Sequence[Tensor], y: Tensor) -> Array:
    """TFLM's DIV; a division by zero gives the limit with the sign of the dividend, and 0 / 0 gives 0."""
    multiplier, shift = divide_parameters(ins[0], ins[1], y)
    numerator, divisor = np.broadcast_arrays(a - ins[0].zero_point, b - ins[1].zero_point)
    numerator = np.where(divisor < 0, -numerator, numerator)
    magnitude = np.abs(divisor)
    safe = np.maximum(magnitude, 1)
    inverse, bits = fixed_point.reciprocal(safe, 31)
    headroom = _leading_sign_bits(numerator)
    quotient = rounding_doubling_high_multiply(numerator << headroom, inverse)
    exponent = bits + headroom - shift
    scaled = rounding_doubling_high_multiply(quotient, multiplier)
    # Beyond 31 every bit is shifted out; a negative exponent (quotients far above the output range) saturates.
    right = rounding_shift_right(scaled, np.clip(exponent, 0, 31))
    result = np.where(exponent > 31, 0, right)
    left = np.clip(scaled << np.clip(-exponent, 0, 31), -(1 << 30), 1 << 30)
    result = np.where(exponent < 0, left, result)
    limit = np.sign(numerator) * (1 << 30)
    return np.asarray(np.where(divisor == 0, limit, result), np.int64)


def _leading_sign_bits(values: Array) -> Array:
    """Sign bits that follow the first one in an int32; 31 for 0."""
    magnitude = np.where(values < 0, ~values, values)
    _, exponent = np.frexp(magnitude.astype(np.float64))
    return np.asarray(31 - exponent, np.int64)


# ---- minimum and maximum --------------------------------------------------------------------------------------


def _extreme(attributes: Binary, a: Array, b: Array, ins: Sequence[Tensor], y: Tensor) -> Array:
    """Inputs with the output's quantization are compared as they are, others are first requantized to it."""
    target = quantization_of(y)
    low, high = y.dtype.limits
    sides = []
    for values, tensor in ((a, ins[0]), (b, ins[1])):
        source = quantization_of(tensor)
        if source != target:
            rescaled = multiply_by_quantized_multiplier(values - source.zero_point, *rescale_multiplier(source, target))
            values = np.clip(wrapped(rescaled + target.zero_point), low, high)
        sides.append(values)
    choose = np.maximum if attributes.op is BinaryKind.MAXIMUM else np.minimum
    return np.asarray(choose(sides[0], sides[1]) - target.zero_point, np.int64)


_QUANTIZED: dict[BinaryKind, Callable[[Binary, Array, Array, Sequence[Tensor], Tensor], Array]] = {
    BinaryKind.ADD: _add,
    BinaryKind.SUB: _add,
    BinaryKind.MUL: _multiply,
    BinaryKind.DIV: _divide,
    BinaryKind.MINIMUM: _extreme,
    BinaryKind.MAXIMUM: _extreme,
}


@integer(Binary)
def binary(attributes: Binary, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    y = outs[0]
    if ins[0].quantization is None:
        return [_plain(attributes, arrays[0], arrays[1], y.dtype)]
    a, b = arrays[0].astype(np.int64), arrays[1].astype(np.int64)
    result = _QUANTIZED[attributes.op](attributes, a, b, ins, y)
    return [saturate(wrapped(result + y.zero_point), y.dtype, *clamp_limits(attributes.activation, y))]


def _plain(attributes: Binary, a: Array, b: Array, dtype: DType) -> Array:
    """Unquantized integers (indices, sizes): C arithmetic that wraps; division truncates, by zero it gives 0."""
    wide_a, wide_b = np.broadcast_arrays(a.astype(np.int64), b.astype(np.int64))
    if attributes.op is BinaryKind.DIV:
        quotient = np.abs(wide_a) // np.maximum(np.abs(wide_b), 1)
        result = np.where(wide_b == 0, 0, np.sign(wide_a) * np.sign(wide_b) * quotient)
    else:
        functions: dict[BinaryKind, np.ufunc] = {
            BinaryKind.ADD: np.add,
            BinaryKind.SUB: np.subtract,
            BinaryKind.MUL: np.multiply,
            BinaryKind.MINIMUM: np.minimum,
            BinaryKind.MAXIMUM: np.maximum,
        }
        result = functions[attributes.op](wide_a, wide_b)
    result = result.astype(dtype.numpy)
    low, high = _plain_limits(attributes.activation, dtype)
    return np.asarray(np.clip(result, low, high), dtype.numpy)


def _plain_limits(clamp: Clamp, dtype: DType) -> tuple[int, int]:
    low, high = dtype.limits
    return (
        low if clamp.low is None else max(low, int(np.ceil(clamp.low))),
        high if clamp.high is None else min(high, int(np.floor(clamp.high))),
    )


# ---- clip and PReLU -------------------------------------------------------------------------------------------


def clip_multiplier(x: Tensor, y: Tensor) -> Multiplier:
    return quantize_multiplier(x.scale / y.scale)


@integer(Clip)
def clip(attributes: Clip, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    x, y = ins[0], outs[0]
    values = arrays[0].astype(np.int64)
    if x.quantization is None:
        return [np.clip(values, *_plain_limits(attributes.clamp, y.dtype)).astype(y.dtype.numpy)]
    if x.quantization != y.quantization:
        rescaled = multiply_by_quantized_multiplier(values - x.zero_point, *clip_multiplier(x, y))
        values = wrapped(rescaled + y.zero_point)
    return [saturate(values, y.dtype, *clamp_limits(attributes.clamp, y))]


def prelu_parameters(x: Tensor, alpha: Tensor, y: Tensor) -> tuple[Multiplier, Multiplier]:
    """Multipliers of the positive and of the negative side."""
    return quantize_multiplier(x.scale / y.scale), quantize_multiplier(x.scale * alpha.scale / y.scale)


@integer(Prelu)
def prelu(attributes: Prelu, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    x, alpha, y = ins[0], ins[1], outs[0]
    positive, negative = prelu_parameters(x, alpha, y)
    values = arrays[0].astype(np.int64) - x.zero_point
    slopes = arrays[1].astype(np.int64) - alpha.zero_point
    result = np.where(
        values >= 0,
        multiply_by_quantized_multiplier(values, *positive),
        multiply_by_quantized_multiplier(values * slopes, *negative),
    )
    return [saturate(wrapped(result + y.zero_point), y.dtype)]
